"""When a silent worker counts as lost. The table is real, in memory; the clock is a fake one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from grid_async_task.adapters.memory import FakeClock, MemoryTaskRepository
from grid_async_task.application.lifecycle import Leaving, Lifecycle
from grid_async_task.application.takeover import Takeover
from grid_async_task.domain.message import TaskMessage
from grid_async_task.domain.task import Task
from grid_async_task.ports import Reading, RepositoryUnavailable

LEASE_S = 60.0


class WithEvents(MemoryTaskRepository):
    """A table in which something happens at the n-th look."""

    def __init__(self, clock: FakeClock, events: dict[int, Callable[[], Any]]) -> None:
        super().__init__(clock)
        self.events = events
        self.looks = 0

    def read(self, task_id: str) -> Reading | None:
        self.looks += 1
        self.events.get(self.looks, lambda: None)()
        return super().read(task_id)


class Case:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.events: dict[int, Callable[[], Any]] = {}
        self.table = WithEvents(self.clock, self.events)
        self.lifecycle = Lifecycle()
        claimed = self.table.insert_claimed(
            TaskMessage("t"), queue="work", owner="silent", lease_s=LEASE_S, max_retry_count=0
        )
        assert claimed is not None
        self.claimed: Task = claimed
        self.clock.advance(LEASE_S + 1)
        self.began = self.clock.monotonic()

    def is_abandoned(self) -> bool:
        return Takeover(self.table, self.clock, self.lifecycle, LEASE_S).is_abandoned(self.claimed)

    @property
    def watched_s(self) -> float:
        return self.clock.monotonic() - self.began


def fail() -> None:
    raise RepositoryUnavailable("away")


def test_a_lease_that_stands_still_for_a_third_of_its_length_is_abandoned() -> None:
    case = Case()
    assert case.is_abandoned()
    assert LEASE_S / 3 <= case.watched_s <= LEASE_S / 3 + 3


def test_a_worker_that_renews_is_alive() -> None:
    case = Case()
    case.events[4] = lambda: case.table.renew(case.claimed, lease_s=LEASE_S, progress=None, cancel_known=False)
    assert not case.is_abandoned()


@pytest.mark.parametrize(
    "interruption", [lambda case: fail(), lambda case: case.clock.advance(11)], ids=["an error", "a gap"]
)
def test_after_an_interruption_the_count_starts_anew(interruption: Callable[[Case], None]) -> None:
    case = Case()
    case.events[6] = lambda: interruption(case)
    assert case.is_abandoned()
    assert case.watched_s >= 6 * 3 + LEASE_S / 3


def test_everybody_whose_lease_ran_out_in_an_outage_has_renewed_before_it_counts() -> None:
    case = Case()
    for look in range(1, 30):
        case.events[look] = fail
    # the database answers again; the living worker renews at its next beat, within a third of its lease
    case.events[33] = lambda: case.table.renew(case.claimed, lease_s=LEASE_S, progress=None, cancel_known=False)
    assert not case.is_abandoned()


def test_a_stop_ends_the_watch() -> None:
    case = Case()
    case.events[2] = case.lifecycle.stopping.set
    with pytest.raises(Leaving):
        case.is_abandoned()
