"""What was done to the workers, the servers and the tasks, and when."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    deed: str
    began: float
    ended: float
    #: the worker it was done to
    pid: int | None = None
    #: the task it was done to
    task: str | None = None


#: deeds after which a worker's task may be run again
COSTS_A_RUN = {"kill -9 of a worker", "pause past the lease", "SIGTERM"}
#: of those, what counts as a crash of the task
LOOKS_LIKE_A_CRASH = {"kill -9 of a worker", "pause past the lease"}
CANCEL, OPERATORS_RETRY = "cancel", "operator's retry"


class Journal:
    """May be written by several threads."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._lock = threading.Lock()

    def write(self, deed: str, *, began: float | None = None, pid: int | None = None, task: str | None = None) -> None:
        """It was done just now, or from `began` until now."""
        now = time.monotonic()
        with self._lock:
            self._entries.append(Entry(deed, now if began is None else began, now, pid, task))

    @property
    def entries(self) -> list[Entry]:
        with self._lock:
            return list(self._entries)

    def counts(self) -> dict[str, int]:
        return dict(Counter(entry.deed for entry in self.entries))

    def causes(self, pid: int, began: float, until: float) -> list[Entry]:
        """What was done to a worker in this time, or part of it, that may cost its task a run."""
        return [
            entry
            for entry in self.entries
            if entry.pid == pid and entry.deed in COSTS_A_RUN and entry.began <= until and entry.ended >= began
        ]

    def done_to(self, task: str, deed: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.task == task and entry.deed == deed]
