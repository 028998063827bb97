"""Several workers, several tasks, and kills until each task has had its share."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grid_async_task import Task
from tests.resuming.handlers import STEP_S
from tests.waiting import eventually
from tests.worker_process import WorkerProcess
from tests.worker_site import Site, open_site

HANDLER = "tests.resuming.handlers:Resuming"
STEPS = 30


@dataclass
class Note:
    what: str
    attempt: int
    pid: int
    at: float
    step: int = 0
    checkpoint: int | None = None


@dataclass
class Scene:
    """What happened to each task."""

    notes: dict[str, list[Note]]
    rows: dict[str, Task]
    #: how many times its worker was killed from outside, by task
    kills: dict[str, int]
    #: the pids of all workers that ended by kill -9, by another's hand or their own
    killed: set[int]

    def of_kind(self, kind: str) -> Iterator[tuple[str, Task, list[Note]]]:
        for task_id, row in self.rows.items():
            if task_id.startswith(f"{kind}-"):
                yield task_id, row, self.notes[task_id]


def read_notes(diary: list[str]) -> dict[str, list[Note]]:
    """By task, in their order."""
    notes: dict[str, list[Note]] = {}
    for line in diary:
        entry: dict[str, Any] = json.loads(line)
        notes.setdefault(entry.pop("task"), []).append(Note(**entry))
    return notes


@contextmanager
def scene_of(
    directory: Path,
    amqp_url: str,
    mysql_url: str,
    *,
    copies: int,
    kills: int,
    workers: int,
    seed: int,
    timeout_s: float,
) -> Iterator[Scene]:
    """`copies` tasks of each kind; those with steps lose their worker `kills` times."""
    rng = random.Random(seed)
    with open_site(directory, amqp_url, mysql_url) as site:
        killer = _Killer(site, rng, kills)
        for number in range(copies):
            task_id = f"steps-{number}"
            data = {"kind": "steps", "steps": STEPS, "last_step_after": str(killer.all_done_to(task_id))}
            site.publish(task_id=task_id, data=data)
            site.publish(task_id=f"cancelled-{number}", data={"kind": "cancelled"})
            for kind in ("snooze", "retry", "discard"):
                data = {"kind": kind, "kill_after_s": rng.uniform(0, 0.03)}
                site.publish(task_id=f"{kind}-{number}", data=data, max_retry_count=1)
        number_of_tasks = 5 * copies

        def all_done() -> bool:
            _keep_alive(site, workers)
            killer.look()
            counts = site.client.count_by_status()
            return counts["success"] + counts["failed"] == number_of_tasks

        site.client.get_task("makes the table")
        eventually(all_done, timeout_s, "all tasks are final")
        rows = {task.id: task for task in site.client.list_tasks(limit=number_of_tasks)}
        killed = {worker.process.pid for worker in site.workers if worker.process.poll() == -signal.SIGKILL}
        yield Scene(read_notes(site.diary()), rows, killer.kills, killed)


def _keep_alive(site: Site, workers: int) -> None:
    alive = sum(worker.process.poll() is None for worker in site.workers)
    for _ in range(workers - alive):
        site.worker(HANDLER, lease_seconds=5, max_crash_count=100)


class _Killer:
    def __init__(self, site: Site, rng: random.Random, kills: int) -> None:
        self._site = site
        self._rng = rng
        self._most = kills
        self.kills: dict[str, int] = {}
        #: by task, the number of the note at which its worker is killed next
        self._next: dict[str, int] = {}

    def all_done_to(self, task_id: str) -> Path:
        """A file that is there once this task's worker was killed often enough; the task does not end before."""
        return self._site.directory / f"all done to {task_id}"

    def look(self) -> None:
        for task_id, notes in read_notes(self._site.diary()).items():
            kind = task_id.split("-")[0]
            if kind == "cancelled" and task_id not in self.kills and self._site.client.cancel_task(task_id):
                self._kill(task_id, notes[-1].pid)
            elif kind == "steps" and self.kills.get(task_id, 0) < self._most:
                due = self._next.setdefault(task_id, len(notes) + self._rng.randrange(1, STEPS // (self._most + 1)))
                if len(notes) >= due or notes[-1].step == STEPS:
                    time.sleep(self._rng.uniform(0, 2 * STEP_S))
                    self._kill(task_id, notes[-1].pid)
                    del self._next[task_id]

    def _kill(self, task_id: str, pid: int) -> None:
        if (worker := self._worker(pid)) is not None:
            worker.kill()
            self.kills[task_id] = self.kills.get(task_id, 0) + 1
            if self.kills[task_id] == self._most:
                self.all_done_to(task_id).touch()

    def _worker(self, pid: int) -> WorkerProcess | None:
        return next((w for w in self._site.workers if w.process.pid == pid and w.process.poll() is None), None)
