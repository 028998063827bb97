"""How much is measured, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Effort:
    #: how often each thing is measured
    rounds: int
    #: tasks whose time is taken in one round of a worker at full speed; slower contenders do a share of them
    tasks: int
    #: starts of a process, for its start-up time and its memory
    starts: int
    #: messages of one round of the measurement of latency
    latencies: int
    #: messages of one batch
    batch: int
    #: seconds that `report_progress` is called in a loop
    progress_s: float
    #: rows of the larger tables, and messages of the longer queue
    rows: tuple[int, ...]
    waiting: int


TINY = Effort(1, 60, 1, 10, 100, 0.6, (2_000,), 500)
QUICK = Effort(3, 500, 7, 60, 3_000, 2.0, (100_000,), 10_000)
FULL = Effort(7, 1500, 21, 150, 10_000, 5.0, (100_000,), 100_000)
LARGE_ROWS = 10_000_000


def interleaved(rounds: int, what: Mapping[str, Callable[[], T]]) -> dict[str, list[T]]:
    """Each of them once a round; who begins changes, so that nobody always follows the same neighbour."""
    names = list(what)
    measured: dict[str, list[T]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            measured[name].append(what[name]())
    return measured
