"""Who hangs holds up only itself: receivers, sinks and notifiers that never answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from dependency_injector import providers

from grid_async_task import TaskHandler
from grid_async_task.adapters.process.threads import ThreadBackground
from grid_async_task.application.alerts import NOTICES_AT_ONCE
from grid_async_task.application.callbacks import TRIES_AT_ONCE
from grid_async_task.application.room import Room
from grid_async_task.domain.callback import (
    MAX_PUT_OFF_S,
    MIN_PUT_OFF_S,
    Callback,
    delay_after_try,
    delay_of_put_off,
    receiver_of,
)
from grid_async_task.domain.failure import Failure
from grid_async_task.domain.message import CallbackRequest, TaskMessage
from grid_async_task.domain.outcome import Succeeded
from grid_async_task.domain.task import CallbackStatus, Task, TaskStatus
from grid_async_task.domain.verdict import Finished, NotYet
from grid_async_task.ports import Notice, Notifier
from tests.unit.world import QUEUE, Steps, World


class Gate:
    """A sender whose calls to one host wait until the test opens it."""

    def __init__(self, holds: str) -> None:
        self._holds = holds
        self._open = threading.Event()
        self._changed = threading.Condition()
        self._inside = 0
        self.most_inside = 0
        self.delivered: list[str] = []

    def send(self, callback: Callback) -> None:
        if self._holds in (callback.url or callback.type):
            with self._changed:
                self._inside += 1
                self.most_inside = max(self.most_inside, self._inside)
                self._changed.notify_all()
            self._open.wait(60)
            with self._changed:
                self._inside -= 1
        with self._changed:
            self.delivered.append(callback.task_id)
            self._changed.notify_all()

    def open(self) -> None:
        self._open.set()

    def wait_for(self, *task_ids: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: set(task_ids) <= set(self.delivered), 30)

    def wait_until_inside(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self._inside == count, 30)


class Nothing(TaskHandler):
    def execute(self, task_data: dict[str, Any]) -> None:
        return None


@dataclass
class Outbox:
    """The callbacks of one worker, with real threads and a table in memory."""

    gate: Gate
    world: World = field(default_factory=World)
    late: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        container = self.world.container(Nothing(), Steps())
        self.background = ThreadBackground(hung_after_s=60)
        container.background.override(providers.Object(self.background))
        senders = dict.fromkeys(("http", "rabbitmq", "custom"), self.gate)
        container.callback_senders.override(providers.Object(senders))
        self.callbacks = container.callbacks()

    def finished(self, task_id: str, url: str | None, type: str = "http") -> Task:
        """A final row whose callback is due."""
        message = TaskMessage(task_id, callback=CallbackRequest(url, type))
        claim = self.world.table.insert_claimed(message, queue=QUEUE, owner="me", lease_s=60, max_retry_count=0)
        assert claim is not None
        assert self.world.table.settle(claim, Succeeded({}), None)
        return self.world.row(task_id)

    def deliver(self, task: Task) -> Finished | NotYet | None:
        return self.callbacks.deliver(task, {}, self.late.append)


@pytest.fixture
def outbox() -> Iterator[Outbox]:
    outbox = Outbox(Gate("slow"))
    yield outbox
    outbox.gate.open()
    outbox.background.close(30)


def test_a_receiver_that_hangs_gets_so_many_tries_at_a_time_and_the_rest_is_put_off(outbox: Outbox) -> None:
    tasks = [outbox.finished(f"t{n}", "http://slow.test/") for n in range(TRIES_AT_ONCE + 3)]
    answers = [outbox.deliver(outbox.world.row(task.id)) for task in tasks]
    outbox.gate.wait_until_inside(TRIES_AT_ONCE)
    put_off = answers[TRIES_AT_ONCE:]
    assert all(isinstance(each, NotYet) and MIN_PUT_OFF_S * 0.8 <= each.wait_s < 30 for each in put_off), put_off
    for task in tasks[TRIES_AT_ONCE:]:
        row = outbox.world.row(task.id)
        # no try was spent, and the row says when somebody has to look again
        assert (row.callback_status, row.callback_attempts) == (CallbackStatus.DUE, task.callback_attempts)
        assert row.wake_at is not None
        assert timedelta(0) < row.wake_at - outbox.world.clock.now() < timedelta(seconds=30)


def test_what_was_put_off_is_sent_once_there_is_room(outbox: Outbox) -> None:
    tasks = [outbox.finished(f"t{n}", "http://slow.test/") for n in range(TRIES_AT_ONCE + 1)]
    for task in tasks:
        outbox.deliver(outbox.world.row(task.id))
    outbox.gate.open()
    outbox.background.close(30)
    last = tasks[-1].id
    assert last not in outbox.gate.delivered
    outbox.world.clock.advance(60)
    assert outbox.deliver(outbox.world.row(last)) == Finished()
    assert outbox.world.row(last).callback_status is CallbackStatus.SENT


def test_others_are_served_beside_one_that_hangs(outbox: Outbox) -> None:
    for n in range(TRIES_AT_ONCE + 1):
        outbox.finished(f"t{n}", "http://slow.test/")
        outbox.deliver(outbox.world.row(f"t{n}"))
    for task_id, url, type in (("a", "http://good.test/", "http"), ("b", None, "custom")):
        outbox.finished(task_id, url, type)
        assert outbox.deliver(outbox.world.row(task_id)) == Finished()
    assert outbox.gate.delivered == ["a", "b"]


def test_nobody_waits_for_a_receiver_that_is_taking_long_already(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox.finished("first", "http://slow.test/")
    outbox.finished("second", "http://slow.test/other")
    outbox.deliver(outbox.world.row("first"))
    # from now on waiting would last longer than the test may
    monkeypatch.setattr("grid_async_task.application.callbacks.WAIT_FOR_RECEIVER_S", 600.0)
    assert isinstance(outbox.deliver(outbox.world.row("second")), NotYet)
    outbox.gate.wait_until_inside(2)


def test_a_receiver_is_a_host_and_a_sink_is_one_as_a_whole() -> None:
    def of(url: str | None, type: str = "http") -> str:
        return receiver_of(Task("t", QUEUE, status=TaskStatus.SUCCESS, callback=CallbackRequest(url, type)))

    assert of("http://A.test/one") == of("https://user:word@a.test:8443/two?x=1") == "http a.test"
    assert of("http://b.test/") != of("http://a.test/")
    assert of("http://[::1") == of(None) == "http"
    assert of("http://a.test/", "kafka") == of("http://b.test/", "kafka") == "kafka"


class Still:
    """The middle, where chance would decide."""

    def uniform(self, low: float, high: float) -> float:
        return high


@pytest.mark.parametrize(
    ("waited_s", "delay_s"), [(-3, MIN_PUT_OFF_S), (0, MIN_PUT_OFF_S), (200, 20), (10_000, MAX_PUT_OFF_S)]
)
def test_the_longer_a_callback_has_waited_the_less_often_it_is_looked_at(waited_s: float, delay_s: float) -> None:
    assert delay_of_put_off(waited_s, Still()) == delay_s


@pytest.mark.parametrize(
    ("asked_s", "delay_s"), [(None, 5.0), (0.0, 5.0), (3.0, 5.0), (7.0, 7.0), (300.0, 300.0), (86_400.0, 300.0)]
)
def test_a_receiver_may_ask_for_more_time_and_not_for_less(asked_s: float | None, delay_s: float) -> None:
    assert delay_after_try(2, Still(), asked_s) == delay_s


def test_names_that_are_done_take_no_memory() -> None:
    room = Room(2)
    for n in range(100):
        assert room.enter(f"host {n}") == 0
        room.leave(f"host {n}")
    assert not room._taken
    assert [room.enter("a"), room.enter("a"), room.enter("a"), room.enter("b")] == [0, 1, None, 0]
    room.leave("a")
    assert room.enter("a") == 1


class HangingNotifier(Notifier):
    def __init__(self) -> None:
        self.over = threading.Event()

    def notify(self, notice: Notice) -> None:
        self.over.wait(60)


def test_a_notifier_that_hangs_takes_a_bounded_number_of_threads() -> None:
    world = World()
    container = world.container(Nothing(), Steps())
    notifier, background = HangingNotifier(), ThreadBackground(hung_after_s=60)
    container.notifier.override(providers.Object(notifier))
    container.background.override(providers.Object(background))
    alerts = container.alerts()
    before = threading.active_count()
    for _ in range(NOTICES_AT_ONCE + 20):
        alerts.task_failed(Task("t", QUEUE, status=TaskStatus.FAILED), Failure("Error", "it failed"))
    assert threading.active_count() - before == NOTICES_AT_ONCE
    notifier.over.set()
    background.close(30)


def test_what_hangs_is_not_waited_for_at_the_end_and_keeps_no_idle_worker() -> None:
    over = threading.Event()
    for hung_after_s, waits in ((0.0, False), (3600.0, True)):
        background = ThreadBackground(hung_after_s=hung_after_s)
        background.submit(lambda: over.wait(60))
        assert background.busy is waits
        if waits:
            threading.Timer(0.1, over.set).start()
        background.close(60)
        assert over.is_set() is waits
    assert not background.busy
