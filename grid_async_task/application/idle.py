"""When a worker has had nothing to do for long enough to end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from grid_async_task.ports import Clock


class IdleTime:
    """Runs only while messages could arrive.

    Starts anew with every task and callback, and stands still with a delivery in hand.
    """

    def __init__(
        self, clock: Clock, *, timeout_s: float, is_connected: Callable[[], bool], is_busy: Callable[[], bool]
    ) -> None:
        self._clock = clock
        self._timeout_s = timeout_s
        self._is_connected = is_connected
        self._is_busy = is_busy
        self._since = clock.monotonic()
        #: when the worker's loop last asked whether it is over; None before its first turn
        self._asked_at: float | None = None
        #: at the last look; a connection that was made since has had no time to bring anything
        self._was_connected = False
        #: a delivery is in hand
        self.is_standing_still = False

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Around what is done with a delivery: time in which none was looked for is no idle time."""
        began = self._clock.monotonic()
        idle_s = began - self._since
        self.is_standing_still = True
        try:
            yield
        finally:
            self._asked_at = self._clock.monotonic()
            self.is_standing_still = False
            has_restarted = self._since >= began
            self._since = self._clock.monotonic() - (0.0 if has_restarted else idle_s)

    def restart(self) -> None:
        self._since = self._clock.monotonic()

    @property
    def left_s(self) -> float:
        """Seconds until the worker may end; endless where it never does."""
        if not self._timeout_s:
            return float("inf")
        return max(0.0, self._since + self._timeout_s - self._clock.monotonic())

    @property
    def silent_s(self) -> float:
        """Seconds since the worker's loop last turned; 0 before it does, and while a delivery is in hand."""
        if self._asked_at is None or self.is_standing_still:
            return 0.0
        return self._clock.monotonic() - self._asked_at

    def is_over(self) -> bool:
        self._asked_at = self._clock.monotonic()
        was_connected, self._was_connected = self._was_connected, self._is_connected()
        if not (was_connected and self._was_connected) or self._is_busy():
            self.restart()
        return self.left_s <= 0
