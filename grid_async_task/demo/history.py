"""What has become of each task, in the order in which it was seen."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass

from grid_async_task import Task, TaskStatus


@dataclass(frozen=True)
class Entry:
    #: seconds since the tasks were sent
    at_s: float
    task_id: str
    text: str

    def __str__(self) -> str:
        return f"{self.at_s:5.1f} s  {self.task_id:<17} {self.text}"


class History:
    """Compares each reading of a task with the one before."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._seen: dict[str, tuple[TaskStatus, int]] = {}
        self._entries: dict[str, list[Entry]] = defaultdict(list)

    def of(self, task_id: str) -> list[Entry]:
        return self._entries[task_id]

    def note(self, task_id: str, text: str) -> Entry:
        """Something that was done to the task."""
        entry = Entry(time.monotonic() - self._began, task_id, text)
        self._entries[task_id].append(entry)
        return entry

    def observe(self, task: Task) -> Entry | None:
        """Note what is new; None where nothing is."""
        state = (task.status, task.attempt)
        if self._seen.get(task.id) == state:
            return None
        self._seen[task.id] = state
        return self.note(task.id, _told(task))


def outcome_of(task: Task) -> str:
    """The result or the error, in one line."""
    if task.failure is not None:
        cause = f" ({task.failure.cause})" if task.failure.cause else ""
        return f"{task.failure.error_type}{cause}: {task.failure.message}"
    return "" if task.result is None else ", ".join(f"{name} = {value}" for name, value in task.result.items())


def _told(task: Task) -> str:
    match task.status:
        case TaskStatus.RUNNING if task.crash_count:
            return f"running, attempt {task.attempt}: taken over from the worker that was lost"
        case TaskStatus.RUNNING:
            return f"running, attempt {task.attempt}"
        case TaskStatus.PENDING:
            return "pending"
        case _:
            return f"{task.status.value}: {outcome_of(task)}"
