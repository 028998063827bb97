"""What an observer is told, and that it is told once. On memory adapters, by a fake clock."""

from __future__ import annotations

import json
import timeit
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest
from dependency_injector import providers

from grid_async_task import ConfigurationError, Discard, Retry, Settings, Snooze, TaskHandler, adapter_choice, bootstrap
from grid_async_task.adapters.memory import FakeClock, MemoryBroker
from grid_async_task.adapters.opentelemetry import environment
from grid_async_task.application.observers import Observers
from grid_async_task.domain.callback import Callback
from grid_async_task.domain.failure import CANCELLED, Failure
from grid_async_task.domain.message import TaskMessage
from grid_async_task.domain.outcome import Crashed, Failed, HandedBack, Outcome, RetryLater, Snoozed, Succeeded
from grid_async_task.domain.task import Task
from grid_async_task.ports import (
    NO_OBSERVER,
    OUTCOME_WORDS,
    CallbackFailed,
    CallbackTry,
    Observer,
    OutgoingMessage,
    Publish,
    RepositoryUnavailable,
    outcome_word,
)
from tests.unit.world import QUEUE, Stepped, Steps, World


class Recording(Observer):
    """What it is told, as lines."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def sending(self, messages: Sequence[OutgoingMessage], publish: Publish) -> list[Exception | None]:
        self.told.append(f"sending {len(messages)}")
        return publish([replace(message, headers={"traceparent": "of the producer"}) for message in messages])

    @contextmanager
    def attempt(self, task: Task, headers: Mapping[str, Any]) -> Iterator[dict[str, str]]:
        self.told.append(f"attempt {task.attempt} of {task.id}, {headers.get('traceparent')}")
        yield {"trace_id": "of the attempt"}
        self.told.append("attempt over")

    @contextmanager
    def calling_back(self, task: Task, callback: Callback, headers: Mapping[str, Any]) -> Iterator[dict[str, str]]:
        self.told.append(f"calling back, {headers.get('traceparent')}")
        yield {"traceparent": "of the callback"}

    def claimed_together(self, tasks: int) -> None:
        self.told.append(f"claimed {tasks} together")

    def handler_ran(self, task: Task, seconds: float) -> None:
        self.told.append(f"handler ran {seconds:g} s")

    def settled(self, task: Task, outcome: Outcome) -> None:
        self.told.append(f"settled {task.id}: {outcome_word(outcome)}")

    def claim_lost(self, task: Task) -> None:
        self.told.append("claim lost")

    def taken_over(self, task: Task) -> None:
        self.told.append("taken over")

    def callback_tried(self, task: Task, result: CallbackTry) -> None:
        self.told.append(f"callback {result.value}")

    def dead_letter(self, reason: str) -> None:
        self.told.append(f"dead letter: {reason}")

    def connection_lost(self, to: str) -> None:
        self.told.append(f"{to} lost")


class Watched(World):
    """A world whose workers are watched."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.observer = Recording()

    def container(self, handler: TaskHandler, steps: Steps, *, idle_timeout: float = 0.5) -> Any:
        container = super().container(handler, steps, idle_timeout=idle_timeout)
        container.observer.override(providers.Object(self.observer))
        source = self.broker.source(QUEUE, self.settings.get("prefetch_count", 1))
        container.source.override(providers.Object(Stepped(source, "source", steps)))
        return container

    def put(self, **message: Any) -> None:
        body = json.dumps({"task_id": "t", **message}).encode()
        self.broker.put(OutgoingMessage(QUEUE, body, headers={"traceparent": "from outside", "x-other": 1}))

    @property
    def told(self) -> list[str]:
        return self.observer.told


class Doing(TaskHandler):
    def __init__(self, *what: Any) -> None:
        self.what = list(what)

    def execute(self, task_data: dict[str, Any]) -> Any:
        does = self.what.pop(0) if self.what else None
        if callable(does):
            return does()
        if isinstance(does, BaseException):
            raise does
        return {}


def attempt(number: int, *between: str, header: str = "from outside") -> list[str]:
    return [f"attempt {number} of t, {header}", "handler ran 0 s", *between, "attempt over"]


def test_a_success() -> None:
    world = Watched()
    world.put()
    world.work(Doing())
    assert world.told == attempt(1, "settled t: success")


@pytest.mark.parametrize(
    ("error", "word"), [(Discard("no"), "failed"), (Snooze(5), "snoozed"), (Retry(after=5), "retry")]
)
def test_other_endings(error: Exception, word: str) -> None:
    world = Watched(settings={"max_retry_count": 1})
    world.put()
    world.work(Doing(error))
    assert world.told == attempt(1, f"settled t: {word}")


def test_a_retry_keeps_the_trace_of_its_message() -> None:
    world = Watched(settings={"max_retry_count": 1})
    world.put()
    world.until_quiet(lambda: Doing(None))
    world.put(task_id="t2")
    handler = Doing(ValueError("boom"))
    world.until_quiet(lambda: handler)
    assert [line for line in world.told if line.startswith("attempt") and "t2" in line] == [
        "attempt 1 of t2, from outside",
        "attempt 2 of t2, from outside",
    ]


def test_each_try_of_a_callback_on_the_trace_of_its_task() -> None:
    world = Watched()
    world.receiver.fail_next(CallbackFailed("503"))
    world.put(callback_url="http://example.com/")
    world.until_quiet(Doing)
    assert [line for line in world.told if "call" in line] == [
        "calling back, from outside",
        "callback failed",
        "calling back, from outside",
        "callback sent",
    ]
    (callback,) = world.receiver.callbacks
    assert callback.trace == {"traceparent": "of the callback"}


def test_a_task_that_fails_unrun_was_settled() -> None:
    world = Watched()
    world.put()
    world.table.record_pending([TaskMessage("t")], [QUEUE])
    assert world.table.fail_unrun(world.row("t"), CANCELLED)
    world.work(Doing())
    assert world.told == [], "the client has cancelled it, not this worker"


def test_a_task_whose_workers_are_lost() -> None:
    world = Watched(settings={"max_crash_count": 1})
    world.put()
    for _ in range(2):
        world.work(Doing(), Steps(at=find_settle(world)))
        world.clock.advance(3600)
    world.work(Doing())
    assert [line for line in world.told if line.startswith(("taken", "settled"))] == ["taken over", "settled t: failed"]


def find_settle(world: World) -> int:
    """The number of the call by which an attempt is settled, in a world like this one."""
    twin = World(settings=world.settings)
    twin.send(b'{"task_id": "t"}')
    for task in world.rows():
        twin.table._keep(replace(task))
        twin.clock.advance(world.clock.monotonic() - twin.clock.monotonic())
    twin.work(Doing())
    return twin.steps.log.index("repository.settle")


def test_a_claim_that_is_lost() -> None:
    world = Watched()
    world.put()

    def lose() -> None:
        world.table._keep(replace(world.row("t"), attempt=7, owner="other"))

    world.work(Doing(lose))
    assert world.told[:4] == ["attempt 1 of t, from outside", "handler ran 0 s", "claim lost", "attempt over"]


def test_a_dead_letter_and_its_reason() -> None:
    world = Watched()
    world.send(b"no json")
    world.work(Doing())
    assert world.told == ["dead letter: not_json"]


def test_the_database_is_lost_once_however_often_it_is_asked() -> None:
    world = Watched()
    world.put()
    settle, failures = world.table.settle, [1, 2, 3]

    def fail_thrice(*args: Any, **kwargs: Any) -> bool:
        if failures:
            failures.pop()
            raise RepositoryUnavailable("away")
        return settle(*args, **kwargs)

    world.table.settle = fail_thrice  # type: ignore[method-assign]
    world.work(Doing())
    assert world.told == attempt(1, "database lost", "settled t: success")


def test_a_group() -> None:
    world = Watched(settings={"prefetch_count": 10})
    for number in range(5):
        world.put(task_id=f"t{number}")
    world.work(Doing())
    assert "claimed 4 together" in world.told, "the first one shows how long such tasks take"
    assert sorted(line for line in world.told if line.startswith("settled")) == [
        f"settled t{number}: success" for number in range(5)
    ]
    assert len([line for line in world.told if line == "attempt over"]) == 5


def test_a_producer_sends_what_the_observer_makes_of_it() -> None:
    broker, observer = MemoryBroker(FakeClock()), Recording()
    settings = Settings(amqp_url="memory://", queue=QUEUE, mysql_url="memory://")
    with bootstrap.create_producer(
        record_pending=False, settings=settings, publisher=broker.publisher(), observer=observer
    ) as producer:
        producer.send_task({"data": {}})
        producer.batch_send_tasks([{"data": {}}, {"data": {}}])
    assert observer.told == ["sending 1", "sending 2"]
    assert {message.headers["traceparent"] for message in broker.waiting_for(QUEUE)} == {"of the producer"}


# -- several, and none ----------------------------------------------------------------------------------


def test_several_are_told_all() -> None:
    one, two = Recording(), Recording()
    world = Watched()
    world.observer = Observers([one, two])  # type: ignore[assignment]
    world.put(callback_url="http://example.com/")
    world.send(b"no json")
    world.work(Doing(ValueError("boom")))
    assert one.told == two.told
    assert len(one.told) >= 7
    sent: list[OutgoingMessage] = []

    def publish(messages: Sequence[OutgoingMessage]) -> list[Exception | None]:
        sent.extend(messages)
        return [None]

    assert Observers([one, two]).sending([OutgoingMessage("q", b"")], publish) == [None]
    assert one.told[-1] == two.told[-1] == "sending 1"
    assert len(sent) == 1


def test_no_observer_costs_less_than_a_microsecond_a_task() -> None:
    now = datetime.now(timezone.utc)
    task = Task.pending(TaskMessage("t"), QUEUE, now).claimed("me", now, 60, 0)
    headers: dict[str, Any] = {}
    outcome = Succeeded({})

    def one_task() -> None:
        with NO_OBSERVER.attempt(task, headers):
            NO_OBSERVER.handler_ran(task, 0.1)
        NO_OBSERVER.settled(task, outcome)

    # some 0.4 us; the best of many short rounds, since others work on this machine too
    assert min(timeit.repeat(one_task, number=1_000, repeat=200)) / 1_000 < 1e-6


def test_every_outcome_has_its_word() -> None:
    assert outcome_word(Failed(CANCELLED)) == "cancelled"
    assert outcome_word(Crashed(Failure("WorkerLost", ""))) == "crashed"
    failure = Failure("E", "")
    endings = (Succeeded(None), Failed(failure), RetryLater(failure, 1), Snoozed(1), HandedBack())
    assert {"cancelled", "crashed", *map(outcome_word, endings)} == set(OUTCOME_WORDS)


# -- which there is -------------------------------------------------------------------------------------


def settings(**given: Any) -> Settings:
    return Settings(amqp_url="amqp://x/", queue=QUEUE, mysql_url="memory://", **given)


def test_without_extras_there_is_no_observer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter_choice, "find_spec", lambda module: None)
    monkeypatch.setattr(environment, "find_spec", lambda module: None)
    assert adapter_choice.open_observer(settings()) is NO_OBSERVER
    assert adapter_choice.open_tracer(settings()) is NO_OBSERVER
    with pytest.raises(ConfigurationError, match=r"METRICS_PORT needs the extra 'metrics': pip install"):
        adapter_choice.open_observer(settings(metrics_port=9464))
