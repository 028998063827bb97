"""Tasks that are sent for later: invisible until then, not begun before, whatever is lost on the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from grid_async_task import TaskHandler, TaskStatus, ValidationError
from grid_async_task.application.client import Client
from grid_async_task.application.due_time import DUE_HEADER, delay_of, due_headers, seconds_early
from grid_async_task.application.producer import Producer
from grid_async_task.application.requeue import requeue
from grid_async_task.domain.message import Ticket
from grid_async_task.ports import OutgoingMessage
from tests.unit.world import QUEUE, Crash, Stepped, Steps, World

HOUR_S = 3600.0
NOW = datetime(2024, 1, 15, 10, 30, tzinfo=timezone.utc)


@dataclass
class Site(World):
    #: when each run of the handler began
    began: list[datetime] = field(default_factory=list)

    def producer(self, steps: Steps | None = None, *, record: bool = True, ahead_s: float = 0) -> Producer:
        steps = steps or Steps()
        publisher: Any = Stepped(self.broker.publisher(), "publisher", steps)
        table: Any = Stepped(self.table, "repository", steps)
        return Producer(
            publisher,
            table if record else None,
            default_queue=QUEUE,
            message_max_bytes=10_000,
            monotonic=self.clock.monotonic,
            now=lambda: self.clock.now() + timedelta(seconds=ahead_s),
        )

    def handler(self) -> TaskHandler:
        site = self

        class Noting(TaskHandler):
            def execute(self, task_data: dict[str, Any]) -> Any:
                site.began.append(site.clock.now())

        return Noting()

    def finish(self) -> None:
        self.until_quiet(self.handler)


@pytest.mark.parametrize("record", [True, False])
def test_a_delayed_task_is_invisible_until_it_is_due(record: bool) -> None:
    site = Site()
    due = site.clock.now() + timedelta(seconds=HOUR_S)
    site.producer(record=record).send_task({"task_id": "t"}, delay=HOUR_S)
    assert site.broker.ready(QUEUE) == 0
    assert site.broker.seconds_to_next() == HOUR_S
    if record:
        assert (site.row("t").status, site.row("t").wake_at) == (TaskStatus.PENDING, due)
    site.finish()
    assert (site.row("t").status, site.began) == (TaskStatus.SUCCESS, [due])


def test_a_time_may_be_named_instead() -> None:
    site = Site()
    due = (site.clock.now() + timedelta(seconds=HOUR_S)).astimezone(timezone(timedelta(hours=8)))
    site.producer().send_task({"task_id": "t"}, at=due)
    site.producer().send_task({"task_id": "past"}, at=site.clock.now() - timedelta(days=1))
    assert (site.broker.ready(QUEUE), site.row("past").wake_at) == (1, None)
    site.finish()
    assert site.began[1:] == [due]


@pytest.mark.parametrize("record", [True, False])
def test_a_message_that_comes_before_its_time_is_parked_for_the_rest(record: bool) -> None:
    """As after the 36 hours that one climb of the delay queues covers, or from a producer that has no delay queues."""
    site = Site()
    due = site.clock.now() + timedelta(hours=50)
    if record:
        site.producer().send_task({"task_id": "t"}, at=due)
    (message,) = site.broker.waiting_for(QUEUE) if record else [OutgoingMessage(QUEUE, b'{"task_id": "t"}')]
    site.broker.put(OutgoingMessage(QUEUE, message.body, headers=due_headers(50 * HOUR_S, site.clock.now())))
    site.work(site.handler())
    assert site.began == []
    assert [each.headers[DUE_HEADER] for each in site.broker.waiting_for(QUEUE)] == [
        due.strftime("%Y-%m-%dT%H:%M:%SZ")
    ] * (1 + record)
    site.finish()
    assert site.began == [due]


def test_a_producer_whose_clock_is_wrong_delays_nothing() -> None:
    site = Site()
    due = site.clock.now() + timedelta(seconds=60)
    site.producer(ahead_s=24 * HOUR_S).send_task({"task_id": "t"}, delay=60)
    site.finish()
    assert site.began == [due]


def test_the_row_knows_it_where_the_message_does_not() -> None:
    site = Site()
    due = site.clock.now() + timedelta(seconds=HOUR_S)
    site.producer().send_task({"task_id": "t"}, delay=HOUR_S)
    for body in (b'{"task_id": "t"}', Ticket("t").to_body()):
        site.send(body)
        site.work(site.handler())
    site.finish()
    assert site.began == [due]


def test_nothing_is_swept_or_requeued_to_run_early() -> None:
    site = Site()
    due = site.clock.now() + timedelta(seconds=HOUR_S)
    site.producer().send_task({"task_id": "t"}, delay=HOUR_S)
    site.clock.advance(HOUR_S / 2)
    sweep = site.container(site.handler(), Steps()).sweep()
    assert sweep.sweep() == 0
    assert requeue(site.table, site.broker.publisher(), QUEUE) == 1
    assert site.broker.ready(QUEUE) == 0
    site.finish()
    assert site.began == [due]


def test_a_lost_message_is_swept_up_after_its_time() -> None:
    site = Site()
    site.producer().send_task({"task_id": "t"}, delay=HOUR_S)
    site.broker.delayed.clear()
    site.clock.advance(HOUR_S + 901)
    assert site.container(site.handler(), Steps()).sweep().sweep() == 1
    site.finish()
    assert len(site.began) == 1


def test_a_delayed_task_can_be_cancelled_while_it_waits() -> None:
    site = Site()
    site.producer().send_task({"task_id": "t", "callback_url": "http://x.example/"}, delay=HOUR_S)
    assert Client(site.table, site.broker.publisher).cancel_task("t")
    site.finish()
    assert (site.began, len(site.receiver.callbacks)) == ([], 1)


@pytest.mark.parametrize("after", [False, True])
def test_a_producer_may_die_at_any_step(after: bool) -> None:
    number = 0
    while True:
        site, steps = Site(), Steps(number, after)
        due = site.clock.now() + timedelta(seconds=HOUR_S)
        accepted = False
        try:
            site.producer(steps).send_task({"task_id": "t"}, delay=HOUR_S)
            accepted = True
        except Crash:
            pass
        site.finish()
        assert set(site.began) <= {due}
        assert len(site.began) <= 1
        assert site.began or not accepted
        if not steps.dead:
            break
        number += 1
    assert number >= 3


@pytest.mark.parametrize(
    ("delay", "at"),
    [(-1, None), ("60", None), (True, None), (float("nan"), None), (1e12, None), (None, "tomorrow"), (5, NOW)],
)
def test_what_is_no_time(delay: Any, at: Any) -> None:
    with pytest.raises(ValidationError):
        delay_of(delay, at, NOW)
    site = Site()
    with pytest.raises(ValidationError):
        site.producer().send_task({"task_id": "t"}, delay=delay, at=at)
    assert (site.rows(), site.broker.waiting_for(QUEUE)) == ([], [])


def test_a_time_without_a_zone_is_utc() -> None:
    assert delay_of(None, NOW.replace(tzinfo=None) + timedelta(minutes=1), NOW) == 60
    assert delay_of(None, None, NOW) == delay_of(0, None, NOW) == 0


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2024-01-15T10:31:00Z", 60),
        (b"2024-01-15T10:31:00Z", 60),
        ("2024-01-15T18:31:00+08:00", 60),
        ("2024-01-15T10:31:00", 60),
        ("2024-01-15T10:30:01Z", 0),
        ("2020-01-15T10:30:01Z", 0),
        ("9999-01-15T10:30:01Z", 0),
        ("soon", 0),
        (5, 0),
        (None, 0),
    ],
)
def test_what_a_header_says(value: Any, expected: float) -> None:
    assert seconds_early({DUE_HEADER: value}, NOW) == expected


@pytest.mark.parametrize("priority", [-1, 256, 1.5, True, "9"])
def test_what_is_no_priority(priority: Any) -> None:
    with pytest.raises(ValidationError, match="priority"):
        Site().producer().send_task({"task_id": "t"}, priority=priority)


def test_a_priority_stays_with_a_message_that_is_parked() -> None:
    site = Site()
    site.producer().send_task({"task_id": "t"}, priority=7, delay=HOUR_S)
    site.clock.advance(HOUR_S)
    (message,) = site.broker.waiting_for(QUEUE)
    site.broker.put(
        OutgoingMessage(QUEUE, message.body, headers=due_headers(60, site.clock.now()), properties={"priority": 7})
    )
    assert message.properties["priority"] == 7
    site.work(site.handler())
    assert {each.properties.get("priority") for each in site.broker.waiting_for(QUEUE)} <= {7}
