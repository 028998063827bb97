"""An operator's commands that die between any two of their steps: nothing is lost, and whoever is owed has a ticket."""

from __future__ import annotations

import itertools
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from grid_async_task.adapters.memory import FakeClock, MemoryBroker, MemoryMessageSource, MemoryTaskRepository
from grid_async_task.application.callback_desk import CallbackDesk
from grid_async_task.application.dead_letter_desk import DeadLetterDesk
from grid_async_task.application.envelope import MANY_DELIVERIES
from grid_async_task.application.pages import PAGE
from grid_async_task.application.refusal import Refused
from grid_async_task.application.requeue import requeue
from grid_async_task.application.roster import roster
from grid_async_task.domain.failure import Failure
from grid_async_task.domain.message import CallbackRequest, MessageLimits, TaskMessage
from grid_async_task.domain.outcome import RetryLater, Succeeded
from grid_async_task.domain.task import CallbackStatus, Task
from grid_async_task.ports import BrokerUnavailable, CallbackMark, Delivery, OutgoingMessage
from tests.unit.world import QUEUE, Crash, Stepped, Steps

DEAD = f"{QUEUE}.dead"
BODY = b'{"task_id": "t", "data": 5}'
INVALID = Failure("ValidationError", "data is a number", retryable=False)
ASKED = CallbackRequest("https://example.com/done")


@dataclass
class Office:
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.broker = MemoryBroker(self.clock)
        self.table = MemoryTaskRepository(self.clock)

    def task(self) -> Task:
        reading = self.table.read("t")
        assert reading is not None
        return reading.task

    def finished(self, mark: CallbackMark) -> None:
        claim = self.table.insert_claimed(
            TaskMessage("t", callback=ASKED), queue=QUEUE, owner="me", lease_s=60, max_retry_count=0
        )
        assert claim is not None
        assert self.table.settle(claim, Succeeded({}), None)
        taken = self.table.take_callback(self.task(), hold_s=60)
        assert taken is not None
        assert self.table.mark_callback(taken, mark)

    def callbacks(self, steps: Steps) -> CallbackDesk:
        publisher: Any = Stepped(self.broker.publisher(), "publisher", steps)
        table: Any = Stepped(self.table, "table", steps)
        return CallbackDesk(table, lambda: publisher)

    def dead_letters(self, steps: Steps) -> DeadLetterDesk:
        publisher: Any = Stepped(self.broker.publisher(), "publisher", steps)
        source: Any = Stepped(self.broker.source(DEAD, prefetch=10), "source", steps)
        table: Any = Stepped(self.table, "table", steps)
        return DeadLetterDesk(source, publisher, lambda: table, queue=QUEUE, limits=MessageLimits())


CRASHES = [
    pytest.param(*crash, id=f"{crash[0]}{'+' if crash[1] else '-'}")
    for crash in itertools.product(range(9), (False, True))
]


@pytest.mark.parametrize(("at", "after"), CRASHES)
def test_a_redelivered_callback_always_has_a_ticket(at: int, after: bool) -> None:
    office = Office()
    office.finished(CallbackMark())
    with suppress(Crash):
        office.callbacks(Steps(at=at, after=after)).redeliver("t")
    if office.task().callback_status is CallbackStatus.DUE:
        assert office.broker.waiting_for(QUEUE)


def test_a_redelivered_callback_stands_although_the_broker_has_gone() -> None:
    office = Office()
    office.finished(CallbackMark())
    published = office.broker.publisher()
    taken: list[OutgoingMessage] = []

    class Going:
        def declare(self, queue: str) -> object:
            return published.declare(queue)

        def publish(self, message: OutgoingMessage) -> None:
            if taken:
                raise BrokerUnavailable("gone")
            taken.append(message)
            published.publish(message)

    going: Any = Going()
    CallbackDesk(office.table, lambda: going).redeliver("t")
    assert office.task().callback_status is CallbackStatus.DUE
    assert [message.delay_s for message in taken] == [30]


@pytest.mark.parametrize(("at", "after"), CRASHES)
def test_a_replayed_message_is_on_one_of_the_queues(at: int, after: bool) -> None:
    office = Office()
    office.broker.publisher().publish(OutgoingMessage(DEAD, BODY))
    assert office.table.record_invalid(TaskMessage("t"), queue=QUEUE, failure=INVALID)
    with suppress(Crash), office.dead_letters(Steps(at=at, after=after)) as desk:
        (letter,) = desk.look(10)
        desk.replay(letter)
    office.broker.lose_connections()
    waiting = [each.body for queue in (QUEUE, DEAD) for each in office.broker.waiting_for(queue)]
    assert BODY in waiting
    # and whoever sends it to the work queue has seen to it that no final row makes a worker drop it
    if office.broker.waiting_for(QUEUE):
        assert office.table.read("t") is None


def test_the_crashes_above_cover_every_step() -> None:
    office, steps = Office(), Steps()
    office.broker.publisher().publish(OutgoingMessage(DEAD, BODY))
    assert office.table.record_invalid(TaskMessage("t"), queue=QUEUE, failure=INVALID)
    with office.dead_letters(steps) as desk:
        desk.replay(*desk.look(10))
    assert steps.taken <= 9
    steps = Steps()
    office.finished(CallbackMark(sent=True))
    office.callbacks(steps).redeliver("t")
    assert steps.taken <= 9


def test_a_callback_that_is_still_due_is_not_sent_twice() -> None:
    office = Office()
    office.finished(CallbackMark(retry_in_s=5))
    with pytest.raises(Refused, match="still due"):
        office.callbacks(Steps()).redeliver("t")
    assert office.broker.waiting_for(QUEUE) == []


def test_the_row_of_another_queue_is_not_forgotten() -> None:
    office = Office()
    office.broker.publisher().publish(OutgoingMessage(DEAD, BODY))
    assert office.table.record_invalid(TaskMessage("t"), queue="another", failure=INVALID)
    with office.dead_letters(Steps()) as desk:
        (letter,) = desk.look(10)
        with pytest.raises(Refused, match="'t' is failed"):
            desk.replay(letter)
    assert [each.body for each in office.broker.waiting_for(DEAD)] == [BODY]
    assert office.task().queue == "another"


class OftenReturned(MemoryMessageSource):
    """Of a queue whose messages were looked at many times."""

    def next(self, timeout_s: float) -> Delivery | None:
        delivery = super().next(timeout_s)
        return delivery and replace(delivery, delivery_count=MANY_DELIVERIES)


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_letter_looked_at_many_times_is_neither_lost_nor_doubled(is_lost: bool) -> None:
    office = Office()
    office.broker.publisher().publish(OutgoingMessage(DEAD, BODY))
    source = OftenReturned(office.broker, DEAD, 10)
    limits = MessageLimits()
    with DeadLetterDesk(source, office.broker.publisher(), lambda: office.table, queue=QUEUE, limits=limits) as desk:
        assert len(desk.look(10)) == 1
        if is_lost:
            office.broker.lose_connections()
    assert [each.body for each in office.broker.waiting_for(DEAD)] == [BODY]


def test_a_look_takes_no_more_than_it_was_asked_for() -> None:
    office = Office()
    for number in range(5):
        office.broker.publisher().publish(OutgoingMessage(DEAD, b"%d" % number))
    with office.dead_letters(Steps()) as desk:
        assert [letter.delivery.body for letter in desk.look(2)] == [b"0", b"1"]
    assert [each.body for each in office.broker.waiting_for(DEAD)] == [b"0", b"1", b"2", b"3", b"4"]


def test_requeue_finds_every_waiting_task_although_many_are_of_one_moment() -> None:
    office = Office()
    ids = [f"t{number:04}" for number in range(2 * PAGE + 50)]
    for some in (ids[:30], ids[30:]):
        office.table.record_pending([TaskMessage(task_id) for task_id in some], [QUEUE] * len(some))
        office.clock.advance(1)
    office.table.record_pending([TaskMessage("other")], ["another"])
    claim = office.table.insert_claimed(TaskMessage("r"), queue=QUEUE, owner="me", lease_s=60, max_retry_count=1)
    assert claim is not None
    assert office.table.settle(claim, RetryLater(INVALID, 100.0), None)
    assert requeue(office.table, office.broker.publisher(), QUEUE) == len(ids) + 1
    assert sorted(str(each.properties["message_id"]) for each in office.broker.queues[QUEUE]) == ids
    (delayed,) = office.broker.delayed
    assert delayed.due - office.clock.monotonic() == pytest.approx(100)


def test_the_roster_counts_the_lease_down() -> None:
    office = Office()
    assert office.table.insert_claimed(TaskMessage("t"), queue=QUEUE, owner="me", lease_s=60, max_retry_count=0)
    office.clock.advance(45)
    assert [stint.lease_left_s for stint in roster(office.table, QUEUE, 10)] == [15]
    office.clock.advance(45)
    assert [stint.lease_left_s for stint in roster(office.table, None, 10)] == [-30]
    assert roster(office.table, "another", 10) == []
