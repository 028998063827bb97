"""In the measured process: the moment of each task, and what it cost."""

from __future__ import annotations

import json
import os
import resource
import time
from pathlib import Path


class Stopwatch:
    """Takes the time from one task to a later one, and reports it.

    Where both lie in a steady flow of tasks, claims and commits around them are part of what is measured.
    """

    def __init__(self, first: int, last: int, report: Path) -> None:
        self._first = first
        self._last = last
        self._report = report
        self._ticks: list[float] = []
        self._cpu_s = 0.0

    @classmethod
    def from_environment(cls) -> Stopwatch:
        first, last = os.environ["BENCH_TASKS"].split("-")
        return cls(int(first), int(last), Path(os.environ["BENCH_REPORT"]))

    def tick(self) -> None:
        """A task begins. The clock is the same in all processes of a machine."""
        self._ticks.append(time.perf_counter())
        count = len(self._ticks)
        if count == self._first:
            self._cpu_s = cpu_s()
        if count == self._last:
            used = cpu_s() - (0.0 if self._first == self._last else self._cpu_s)
            write_report(self._report, {"ticks": self._ticks[self._first - 1 :], "cpu_s": used})


def cpu_s() -> float:
    """Processor time of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def write_report(path: Path, report: object) -> None:
    """Whoever waits for the file finds all of it."""
    beside = path.with_suffix(".part")
    beside.write_text(json.dumps(report))
    beside.replace(path)
