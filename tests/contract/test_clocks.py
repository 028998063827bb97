from __future__ import annotations

from grid_async_task.adapters.memory import FakeClock
from grid_async_task.adapters.process.clock import SystemClock
from grid_async_task.ports import Clock
from grid_async_task.testing.contracts import ClockContract


class TestSystemClock(ClockContract):
    def clock(self) -> Clock:
        return SystemClock()


class TestFakeClock(ClockContract):
    def clock(self) -> Clock:
        return FakeClock()
