"""How much may go on at once with somebody who may never answer."""

from __future__ import annotations

import threading
from collections import Counter

import structlog

log = structlog.get_logger(__name__)


class Room:
    """Places for calls under way, so many for each name. Who hangs fills its own places and nobody else's."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()
        #: names of which it was logged that they have no place left
        self._full: set[str] = set()

    def enter(self, name: str) -> int | None:
        """Take a place: how many were taken before. None where all are, and then there is nothing to leave."""
        with self._lock:
            before = self._taken[name]
            if before < self._places:
                self._taken[name] += 1
                return before
            news = name not in self._full
            self._full.add(name)
        if news:
            log.warning("does not answer, further calls have to wait", whom=name, under_way=before)
        return None

    def leave(self, name: str) -> None:
        """Give a place back."""
        with self._lock:
            self._taken[name] -= 1
            if self._taken[name]:
                return
            del self._taken[name]  # names come from messages: there is no end to them
            was_full = name in self._full
            self._full.discard(name)
        if was_full:
            log.info("calls no longer have to wait", whom=name)
