from __future__ import annotations

import threading
from datetime import datetime, timedelta, timezone

from grid_async_task.ports import Clock

#: real seconds between two looks of another thread at the clock
POLL_S = 0.01


class FakeClock(Clock):
    """A clock that stands still until it is told otherwise; a wait of the thread that made it moves it on at once.

    Other threads wait for it to be moved: what a worker does in the background does not run away with the time.
    """

    def __init__(self, now: datetime = datetime(2024, 1, 15, 10, 30, tzinfo=timezone.utc)) -> None:
        self._start = now
        self._passed_s = 0.0
        self._lock = threading.Lock()
        self._owner = threading.current_thread()

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._passed_s)

    def monotonic(self) -> float:
        return self._passed_s

    def wait(self, event: threading.Event, seconds: float) -> bool:
        if threading.current_thread() is not self._owner:
            until = self._passed_s + seconds
            while not event.wait(POLL_S) and self._passed_s < until:
                pass
        elif not event.is_set():
            self.advance(seconds)
        return event.is_set()

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass."""
        if seconds < 0:
            raise ValueError("time does not go back")
        with self._lock:
            self._passed_s += seconds
