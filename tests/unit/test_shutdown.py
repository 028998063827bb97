"""How a worker ends when its handler or a hook does not. Real threads, short times."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from dependency_injector import providers

from grid_async_task import TaskHandler
from grid_async_task.adapters.process.clock import SystemClock
from grid_async_task.adapters.process.threads import ThreadBackground
from grid_async_task.application import shutdown
from grid_async_task.application.worker import Worker
from grid_async_task.domain.task import TaskStatus
from grid_async_task.ports import BrokerUnavailable, OutgoingMessage
from tests.unit.world import Steps, World


class Case:
    """A worker in a thread, whose process does not really end."""

    def __init__(self, handler: TaskHandler, monkeypatch: pytest.MonkeyPatch, grace_s: float = 0.05) -> None:
        monkeypatch.setattr(shutdown, "AFTER_INTERRUPT_S", 0.05)
        monkeypatch.setattr(shutdown, "TO_END_S", 0.3)
        self.exit_codes: list[int] = []
        self.left = threading.Event()
        self.world = World(clock=SystemClock(), settings={"shutdown_grace": grace_s})  # type: ignore[arg-type]
        self.container = self.world.container(handler, Steps(), idle_timeout=0)
        self.container.background.override(providers.Object(ThreadBackground(hung_after_s=60)))
        self.container.shutdown.add_kwargs(leave_process=self.leave)
        self.worker: Worker = self.container.worker()
        self.thread = threading.Thread(target=self.worker.run, daemon=True)

    def leave(self, code: int) -> None:
        self.exit_codes.append(code)
        self.left.set()

    def start(self) -> None:
        self.world.send(b'{"task_id":"t","callback_url":"http://example.test/"}')
        self.thread.start()


class Waiting(TaskHandler):
    """Runs until the test lets it end; can't be interrupted."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.may_end = threading.Event()
        self.completed: list[Any] = []

    def execute(self, task_data: dict[str, Any]) -> Any:
        self.begun.set()
        self.may_end.wait(30)
        return "done"

    def on_task_complete(self, result: Any) -> None:
        self.completed.append(result)


def test_a_handler_that_ends_after_it_was_handed_back_does_not_count_and_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handler = Waiting()
    case = Case(handler, monkeypatch)
    # the broker takes no publish, as under a memory alarm; acknowledgements go through
    publisher = case.world.broker.publisher()
    blocked = threading.Event()

    def refuse(message: OutgoingMessage) -> None:
        blocked.set()
        raise BrokerUnavailable("blocked by an alarm")

    monkeypatch.setattr(publisher, "publish", refuse)
    case.container.publisher.override(providers.Object(publisher))
    case.container.reset_singletons()
    case.worker = case.container.worker()
    case.thread = threading.Thread(target=case.worker.run, daemon=True)
    case.start()
    assert handler.begun.wait(10)
    case.worker.stop()
    assert blocked.wait(10)
    handler.may_end.set()
    case.thread.join(10)
    row = case.world.row("t")
    assert row.status is TaskStatus.PENDING
    assert handler.completed == []
    assert not case.world.without_ticket()


def test_an_attempt_that_begins_just_before_the_stop_is_known_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    handler = Waiting()
    case = Case(handler, monkeypatch)
    stopping = case.container.lifecycle().stopping
    set_mark = stopping.set

    def set_mark_late() -> None:
        # a task arrives between the signal and the mark
        monkeypatch.setattr(stopping, "set", set_mark)
        case.start()
        assert handler.begun.wait(10)
        set_mark()

    monkeypatch.setattr(stopping, "set", set_mark_late)
    case.worker.stop()
    assert case.left.wait(10)
    assert case.exit_codes[0] == 75
    assert case.world.row("t").status is TaskStatus.PENDING
    handler.may_end.set()
    case.thread.join(10)


def test_a_handler_that_hangs_past_its_time_limit_is_not_handed_back_for_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handler = Waiting()
    case = Case(handler, monkeypatch)
    case.container.shutdown.add_kwargs(is_overdue=lambda: True)
    case.container.reset_singletons()
    case.worker = case.container.worker()
    case.thread = threading.Thread(target=case.worker.run, daemon=True)
    case.start()
    assert handler.begun.wait(10)
    case.worker.stop()
    assert case.left.wait(10)
    assert set(case.exit_codes) == {75}
    # it keeps its lease: whoever takes it over counts the crash
    assert case.world.row("t").status is TaskStatus.RUNNING
    handler.may_end.set()
    case.thread.join(10)


def test_a_hook_that_hangs_does_not_keep_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    hangs = threading.Event()
    release = threading.Event()

    class Hanging(TaskHandler):
        def execute(self, task_data: dict[str, Any]) -> Any:
            return None

        def on_task_complete(self, result: Any) -> None:
            hangs.set()
            release.wait(30)

    case = Case(Hanging(), monkeypatch)
    case.start()
    assert hangs.wait(10)
    case.worker.stop()
    assert case.left.wait(10)
    assert case.exit_codes == [75]
    assert case.world.row("t").status is TaskStatus.SUCCESS
    release.set()
    case.thread.join(10)


@pytest.mark.parametrize("stop_twice", [False, True])
def test_a_task_that_ends_within_the_grace_is_finished(monkeypatch: pytest.MonkeyPatch, stop_twice: bool) -> None:
    handler = Waiting()
    case = Case(handler, monkeypatch, grace_s=20)
    case.start()
    assert handler.begun.wait(10)
    case.worker.stop()
    if stop_twice:
        case.worker.stop()
    handler.may_end.set()
    case.thread.join(10)
    assert not case.thread.is_alive()
    assert case.world.row("t").status is TaskStatus.SUCCESS
    assert handler.completed == ["done"]
    assert case.exit_codes == []
    assert len(case.world.receiver.callbacks) == 1


def test_a_claim_lost_at_a_checkpoint_ends_the_process_if_the_handler_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, release = threading.Event(), threading.Event()

    class Stubborn(TaskHandler):
        def execute(self, task_data: dict[str, Any]) -> Any:
            steal()
            try:
                self.save_checkpoint(1)
            except BaseException:
                begun.set()
            release.wait(30)

    case = Case(Stubborn(), monkeypatch)

    def steal() -> None:
        seen = case.world.row("t")
        monkeypatch.setattr(case.world.table, "_is_past", lambda moment: True)
        assert case.world.table.claim(seen, owner="thief", lease_s=60, max_retry_count=0, crashed=True)

    case.start()
    assert begun.wait(10)
    assert case.left.wait(10)
    assert case.exit_codes == [75]
    release.set()


def test_a_publish_that_nobody_confirms_does_not_keep_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    waits, closed = threading.Event(), threading.Event()

    class Failing(TaskHandler):
        def execute(self, task_data: dict[str, Any]) -> Any:
            raise RuntimeError("its callback needs a ticket")

    case = Case(Failing(), monkeypatch)
    publisher = case.world.broker.publisher()

    def hang(message: OutgoingMessage) -> None:
        waits.set()
        assert closed.wait(30)
        raise BrokerUnavailable("closed")

    monkeypatch.setattr(publisher, "publish", hang)
    monkeypatch.setattr(publisher, "close", closed.set)
    case.container.publisher.override(providers.Object(publisher))
    case.container.reset_singletons()
    case.worker = case.container.worker()
    case.thread = threading.Thread(target=case.worker.run, daemon=True)
    case.world.send(b'{"task_id":"t","max_retry_count":1}')
    case.thread.start()
    assert waits.wait(10)
    case.worker.stop()
    case.thread.join(10)
    assert not case.thread.is_alive()
    assert case.exit_codes == []
    assert not case.world.without_ticket()
