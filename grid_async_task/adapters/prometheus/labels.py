"""Labels whose values come from outside, and may be any number."""

from __future__ import annotations

import threading

#: what all values beyond the limit are called
OTHER = "other"


class BoundedLabel:
    """The first values are kept as they are: each is a time series, which Prometheus has to hold in memory."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: set[str] = set()
        self._lock = threading.Lock()

    def __call__(self, value: str) -> str:
        if value in self._known:
            return value
        with self._lock:
            if len(self._known) >= self._limit:
                return OTHER
            self._known.add(value)
            return value
