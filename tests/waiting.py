"""Waiting for what happens in another process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(look: Callable[[], T], timeout_s: float = 60.0, what: str = "") -> T:
    """What `look` gives once it is true; fails when it is not in time."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what or look}")
        time.sleep(0.02)


def quickest(measure: Callable[[], float], limit_s: float, tries: int = 3) -> float:
    """Seconds of the first try below the limit, else of the best: a machine that stands still once proves nothing."""
    best = float("inf")
    for _ in range(tries):
        best = min(best, measure())
        if best < limit_s:
            break
    return best
