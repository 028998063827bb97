"""How a queue stands, told by one who looks from outside; also while a server is away."""

from __future__ import annotations

from typing import Any

import pytest

from grid_async_task.adapters.memory import FakeClock, MemoryBroker, MemoryTaskRepository
from grid_async_task.application.queue_state import QueueReport, QueueWatch
from grid_async_task.domain.message import TaskMessage
from grid_async_task.domain.task import TaskStatus
from grid_async_task.ports import Backlog, BrokerUnavailable, QueueState, RepositoryUnavailable
from tests.unit.world import QUEUE


class Away:
    """A server that lets one wait for 30 s, and then does not answer."""

    def __init__(self, clock: FakeClock, error: Exception) -> None:
        self._clock, self._error = clock, error

    def __getattr__(self, method: str) -> Any:
        def wait(*_: Any) -> Any:
            self._clock.advance(30)
            raise self._error

        return wait


class Large(MemoryTaskRepository):
    """To count its rows takes 3 s."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self._fake_clock = clock

    def backlog(self, queue: str) -> Backlog:
        self._fake_clock.advance(3)
        return super().backlog(queue)


def look(clock: FakeClock, *, broker_away: bool = False, table_away: bool = False) -> QueueReport:
    publisher: Any = Away(clock, BrokerUnavailable("no")) if broker_away else MemoryBroker(clock).publisher()
    table: Any = Away(clock, RepositoryUnavailable("no")) if table_away else Large(clock)
    if not table_away:
        table.record_pending([TaskMessage("t")], [QUEUE])
    if not broker_away:
        publisher.declare(QUEUE)
    return QueueWatch(table, publisher, clock, QUEUE).look()


@pytest.mark.parametrize("broker_away", [False, True])
def test_only_the_counting_is_what_the_table_was_busy_with(broker_away: bool) -> None:
    report = look(FakeClock(), broker_away=broker_away)
    assert report.counted_s == pytest.approx(3)
    assert report.backlog is not None
    assert report.backlog.tasks == {TaskStatus.PENDING: 1}
    assert (report.broker_answers, report.database_answers) == (not broker_away, True)
    assert report.work == (None if broker_away else QueueState(ready=0))


def test_a_table_that_does_not_answer_was_not_busy_with_us() -> None:
    report = look(FakeClock(), table_away=True)
    assert (report.counted_s, report.backlog, report.database_answers, report.broker_answers) == (0, None, False, True)
