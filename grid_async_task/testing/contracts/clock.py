from __future__ import annotations

import threading
from abc import abstractmethod
from datetime import timedelta

from grid_async_task.ports import Clock


class ClockContract:
    """What a `Clock` has to fulfil. Subclass it and say which one."""

    @abstractmethod
    def clock(self) -> Clock:
        """A new clock."""

    def test_the_time_of_day_has_the_zone_utc(self) -> None:
        assert self.clock().now().utcoffset() == timedelta(0)

    def test_waiting_takes_its_time_and_monotonic_shows_it(self) -> None:
        clock = self.clock()
        before = clock.monotonic()
        assert clock.wait(threading.Event(), 0.05) is False
        # a timer may be early by the granularity of the system's clock
        assert clock.monotonic() - before >= 0.045

    def test_an_event_ends_the_wait(self) -> None:
        clock = self.clock()
        event = threading.Event()
        event.set()
        before = clock.monotonic()
        assert clock.wait(event, 3600) is True
        assert clock.monotonic() - before < 3600

    def test_a_wait_that_is_over_before_it_begins_returns_at_once(self) -> None:
        clock = self.clock()
        before = clock.monotonic()
        assert clock.wait(threading.Event(), 0) is False
        assert clock.monotonic() - before < 3600
