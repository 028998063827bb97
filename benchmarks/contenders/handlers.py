"""Handlers of this project's worker. What they measure is around them, so they do as little as they can."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from benchmarks.stopwatch import Stopwatch, write_report
from grid_async_task import TaskHandler


class Ticking(TaskHandler):
    """Does nothing."""

    def __init__(self) -> None:
        self.tick = Stopwatch.from_environment().tick

    def execute(self, task_data: dict[str, Any]) -> Any:
        self.tick()


class Punctual(TaskHandler):
    """Notes how long after its message was published it begins."""

    def __init__(self) -> None:
        self._seconds: list[float] = []
        self._wanted = int(os.environ["BENCH_TASKS"].split("-")[1])

    def execute(self, task_data: dict[str, Any]) -> Any:
        self._seconds.append(time.perf_counter() - task_data["sent_at"])
        if len(self._seconds) == self._wanted:
            write_report(Path(os.environ["BENCH_REPORT"]), self._seconds)


class Talkative(TaskHandler):
    """Reports progress as often as it can, and counts the UPDATEs that the server sees meanwhile."""

    def __init__(self) -> None:
        self._rounds: list[dict[str, float]] = []
        self._wanted = int(os.environ["BENCH_TASKS"].split("-")[1])

    def execute(self, task_data: dict[str, Any]) -> Any:
        from benchmarks.site import connect

        with connect(os.environ["BENCH_MYSQL_URL"]) as database, database.cursor() as cursor:
            before = _updates(cursor)
            began = time.perf_counter()
            calls = 0
            while time.perf_counter() - began < task_data["seconds"]:
                for percent in range(1000):
                    self.report_progress(percent % 100, "on its way")
                calls += 1000
            seconds = time.perf_counter() - began
            self._rounds.append({"calls": calls, "seconds": seconds, "writes": _updates(cursor) - before})
        if len(self._rounds) == self._wanted:
            write_report(Path(os.environ["BENCH_REPORT"]), self._rounds)


def _updates(cursor: Any) -> int:
    cursor.execute("SHOW GLOBAL STATUS LIKE 'Com_update'")
    return int(cursor.fetchone()[1])
