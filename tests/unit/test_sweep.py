"""What the sweep publishes again, and what it leaves alone."""

from __future__ import annotations

from itertools import pairwise

import pytest

from grid_async_task.application.sweep import LOST_AFTER_S, LOST_IN_BACKLOG_AFTER_S, Sweep
from grid_async_task.domain.failure import Failure
from grid_async_task.domain.message import CallbackRequest, TaskMessage
from grid_async_task.domain.outcome import Failed, RetryLater, Succeeded
from grid_async_task.domain.task import Task
from grid_async_task.ports import OutgoingMessage
from tests.unit.test_worker import Scripted
from tests.unit.world import QUEUE, Steps, World

FAILURE = Failure("OSError", "no")
CALLBACK = CallbackRequest("http://example.test/")


class Case:
    def __init__(self) -> None:
        self.world = World()
        self.sweep: Sweep = self.world.container(Scripted(), Steps()).sweep()

    def running(self, message: TaskMessage | None = None, queue: str = QUEUE) -> Task:
        task = self.world.table.insert_claimed(
            message or TaskMessage("t"), queue=queue, owner="me", lease_s=60, max_retry_count=3
        )
        assert task is not None
        return task

    def tickets(self) -> int:
        return len(self.world.broker.waiting_for(QUEUE))


def test_a_running_task_is_lost_only_long_after_its_lease() -> None:
    case = Case()
    case.running()
    case.world.clock.advance(60 + LOST_AFTER_S - 1)
    assert case.sweep.sweep() == 0
    case.world.clock.advance(2)
    assert case.sweep.sweep() == 1
    assert case.tickets() == 1


def test_a_retry_that_waits_is_none_of_its_business() -> None:
    case = Case()
    case.world.table.settle(case.running(), RetryLater(FAILURE, 3600), None)
    case.world.clock.advance(3600 + LOST_AFTER_S - 1)
    assert case.sweep.sweep() == 0
    case.world.clock.advance(2)
    assert case.sweep.sweep() == 1


def test_a_ticket_in_a_backlog_is_not_lost() -> None:
    case = Case()
    case.world.table.settle(case.running(), RetryLater(FAILURE, 10), None)
    case.world.broker.put(OutgoingMessage(QUEUE, b'{"task_id":"another"}'))
    case.world.clock.advance(LOST_AFTER_S + 60)
    assert case.sweep.sweep() == 0
    case.world.clock.advance(LOST_IN_BACKLOG_AFTER_S)
    assert case.sweep.sweep() == 1


def test_an_overdue_callback_and_an_owed_message_are_published_at_once() -> None:
    case = Case()
    case.world.table.settle(case.running(TaskMessage("done", callback=CALLBACK)), Succeeded({}), None)
    failed = case.running(TaskMessage("revived"))
    case.world.table.settle(failed, Failed(FAILURE), None)
    seen = case.world.row("revived")
    assert case.world.table.retry_failed(seen)
    assert case.sweep.sweep() == 2
    assert case.world.row("revived").wake_at is None
    assert case.world.row("done").wake_at is not None
    case.world.until_quiet(Scripted)
    assert len(case.world.receiver.callbacks) == 1
    assert case.world.row("revived").status == "success"


def test_a_swept_row_is_left_alone_for_growing_times() -> None:
    case = Case()
    case.world.table.settle(case.running(TaskMessage("done", callback=CALLBACK)), Succeeded({}), None)
    published_at = []
    for _ in range(int(12 * 3600 / 30)):
        if case.sweep.sweep():
            published_at.append(case.world.clock.monotonic())
        case.world.clock.advance(30)
    waits = [after - before for before, after in pairwise(published_at)]
    assert waits[:4] == pytest.approx([300, 600, 1200, 2400], abs=31)
    assert max(waits) <= 6 * 3600 + 30


def test_other_queues_rows_are_left_alone() -> None:
    case = Case()
    case.running(queue="elsewhere")
    case.world.clock.advance(24 * 3600)
    assert case.sweep.sweep() == 0


def test_twenty_workers_that_sweep_all_day_publish_each_late_row_a_few_times() -> None:
    case = Case()
    for number in range(300):
        case.world.table.settle(case.running(TaskMessage(f"t{number}")), RetryLater(FAILURE, 10), None)
    published = 0
    case.world.clock.advance(LOST_AFTER_S + 60)
    for _ in range(120):  # one hour
        for _ in range(20):
            if case.world.table.win_sweep(QUEUE, 30):
                published += case.sweep.sweep()
        case.world.broker.queues[QUEUE].clear()
        case.world.clock.advance(30)
    assert 300 <= published <= 300 * 5
