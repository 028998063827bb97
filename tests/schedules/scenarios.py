"""What the installation is given to do. A new scenario is one line of `SCENARIOS`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from grid_async_task import Retry, Snooze, TaskHandler
from grid_async_task.domain.message_parsing import validate_message
from grid_async_task.domain.outcome import Succeeded
from grid_async_task.domain.task import Task, TaskStatus
from tests.unit.world import QUEUE

if TYPE_CHECKING:
    from tests.schedules.history import History
    from tests.schedules.processes import WorkerProcess

CALLBACK = {"callback_url": "http://example.test/hook", "callback_data": {"order": 7}}


class Scripted(TaskHandler):
    """Behaves as the scenario says, and has its executions counted."""

    process: WorkerProcess

    def __init__(self, history: History) -> None:
        self.history = history

    def execute(self, task_data: dict[str, Any]) -> Any:
        assert self.task_id is not None
        self.history.promises.executed(self.task_id, self.attempt)
        self.history.scenario.behave(self)
        return {"attempt": self.attempt, "data": task_data}

    def work(self, seconds: float) -> None:
        """Time passes as in a handler that computes: it can be killed and interrupted."""
        end = self.history.clock.monotonic() + seconds
        while True:
            self.process.check_alive()
            self.process.interrupts.current.look()
            if self.history.clock.monotonic() >= end:
                return
            self.history.clock.advance(min(5.0, end - self.history.clock.monotonic()))

    @property
    def row(self) -> Task:
        reading = self.history.table.read(str(self.task_id))
        assert reading is not None
        return reading.task


# -- behaviours -------------------------------------------------------------------------------------------


def succeed(handler: Scripted) -> None:
    handler.work(0)


def fail(handler: Scripted) -> None:
    raise RuntimeError("never")


def fail_until_retried(handler: Scripted) -> None:
    if handler.row.retry_count == 0:
        raise RuntimeError("not yet")


def retry_with_own_delay(handler: Scripted) -> None:
    if handler.row.retry_count == 0:
        raise Retry(after=7)


def fail_until_revived(handler: Scripted) -> None:
    if not handler.history.promises.revivals:
        raise RuntimeError("not before somebody helps")


def snooze_once(handler: Scripted) -> None:
    if not handler.history.promises.snoozes:
        raise Snooze(30)


def long(handler: Scripted) -> None:
    """Longer than a lease, kept by the heartbeat."""
    for step in range((handler.checkpoint or 0) + 1, 6):
        handler.report_progress(step * 15, f"step {step}")
        handler.work(25)
        handler.save_checkpoint(step)


def long_if_second(handler: Scripted) -> None:
    """The first task fails at once, the second keeps the worker for half an hour."""
    if handler.task_id == "t":
        fail_until_retried(handler)
    else:
        handler.work(1800)


def deadly(handler: Scripted) -> None:
    handler.process.die()


def of_each_kind(handler: Scripted) -> None:
    """In a group: a success, a failure at first, one that asks for a callback, a success."""
    if handler.task_id == "b":
        fail_until_retried(handler)


def long_within_group(handler: Scripted) -> None:
    if handler.task_id == "b":
        handler.work(150)


def deadly_within_group(handler: Scripted) -> None:
    if handler.task_id == "b":
        handler.process.die()


# -- scenarios --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scenario:
    """Messages, what the handler does with them, and what has to come of it whatever befalls the workers."""

    behave: Callable[[Scripted], None] = succeed
    #: a task message is a dict; bytes are no valid one
    messages: tuple[Mapping[str, Any] | bytes, ...] = ({},)
    #: how every task ends
    ends: TaskStatus = TaskStatus.SUCCESS
    #: those that end otherwise, by id
    other_ends: Mapping[str, TaskStatus] = field(default_factory=dict)
    #: executions that fail, crash or are snoozed on purpose, over all tasks, and how long after them the next may begin
    extra_runs: int = 0
    delay_s: float = 60.0
    #: how many of the first tries of a callback fail
    callback_failures: int = 0
    callback_is_given_up: bool = False
    #: sent by a producer that publishes and records, each a step
    through_producer: bool = False
    #: rows that are there before: `owed` for a row without its message, as an enqueue in the caller's own
    #: transaction leaves it, `recorded` for rows of all messages but the first, `old` for what a prune may and may
    #: not delete
    table: str = ""
    #: an operator's commands once all is quiet, one after another
    then: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    #: executions of a handler that takes its worker down
    deadly: bool = False

    @property
    def group_size(self) -> int:
        """Tasks that may be claimed together, and so be lost together."""
        return int(self.settings.get("prefetch_count", 1))

    def can_meet(self, command: str) -> bool:
        """Whether an operator's command can change anything here."""
        return {
            "retry": self.ends is TaskStatus.FAILED or "retry" in self.then,
            "prune": self.table == "old",
        }.get(command, True)

    def bodies(self) -> list[bytes]:
        return [
            each if isinstance(each, bytes) else json.dumps({"task_id": "t", **each}).encode() for each in self.messages
        ]

    def rows(self, now: datetime) -> list[Task]:
        def row(**message: Any) -> Task:
            return Task.pending(validate_message(message), QUEUE, now - timedelta(days=3))

        if self.table == "owed":
            return [replace(row(task_id="t", **CALLBACK), wake_at=now)]
        if self.table == "recorded":
            return [row(**message) for message in self.messages if isinstance(message, Mapping)][1:]
        if self.table == "old":
            done = row(task_id="old").claimed("long gone", now - timedelta(days=3), 60, 0, crashed=False)
            settled = done.settled(Succeeded({"attempt": 1, "data": {}}), now - timedelta(days=3), None)
            return [settled]
        return []


RETRIED = {"max_retry_count": 1}
OTHER = {"data": {"other": 1}}
FOUR_AT_ONCE = {"prefetch_count": 4}

SCENARIOS: dict[str, Scenario] = {
    "success": Scenario(),
    "callback": Scenario(messages=(CALLBACK,)),
    "producer": Scenario(messages=({"task_id": "t", **CALLBACK},), through_producer=True),
    "owed": Scenario(messages=(), table="owed"),
    "callback fails at first": Scenario(messages=(CALLBACK,), callback_failures=2),
    "callback given up": Scenario(
        messages=(CALLBACK,),
        callback_failures=1000,
        callback_is_given_up=True,
        then=("redeliver",),
        settings={"callback_retry_count": 0},
    ),
    "callback redelivered": Scenario(messages=(CALLBACK,), then=("redeliver",)),
    "retry": Scenario(fail_until_retried, (RETRIED,), extra_runs=1),
    "retry with callback": Scenario(fail_until_retried, ({**RETRIED, **CALLBACK},), extra_runs=1),
    "retry with its own delay": Scenario(retry_with_own_delay, (RETRIED,), extra_runs=1, delay_s=7),
    "snooze": Scenario(snooze_once, (CALLBACK,), extra_runs=1, delay_s=30),
    "failure": Scenario(fail, (CALLBACK,), TaskStatus.FAILED),
    "retries exhausted": Scenario(fail, ({"max_retry_count": 2, **CALLBACK},), TaskStatus.FAILED, extra_runs=2),
    "operator's retry": Scenario(fail_until_revived, (CALLBACK,), extra_runs=1, then=("retry",)),
    "long": Scenario(long, (CALLBACK,)),
    "worker lost": Scenario(
        deadly, (CALLBACK,), TaskStatus.FAILED, extra_runs=1, deadly=True, settings={"max_crash_count": 1}
    ),
    "two messages of one id": Scenario(messages=(CALLBACK, CALLBACK)),
    "two that differ": Scenario(messages=(CALLBACK, {**CALLBACK, **OTHER})),
    "two tasks": Scenario(fail_until_retried, (RETRIED, {"task_id": "u", **RETRIED, **CALLBACK}), extra_runs=2),
    "backlog": Scenario(long_if_second, (RETRIED, {"task_id": "u"}), extra_runs=1, settings={"lease_seconds": 600}),
    "bad over good": Scenario(messages=(CALLBACK, b'{"task_id":"t","data":[1]}')),
    "bad first": Scenario(
        messages=(b'{"task_id":"t","max_retry_count":"many","callback_url":"http://example.test/hook"}', b"no json"),
        ends=TaskStatus.FAILED,
    ),
    "old rows": Scenario(messages=(CALLBACK,), table="old", then=("prune",)),
    "requeued": Scenario(fail_until_retried, ({**RETRIED, **CALLBACK},), extra_runs=1, then=("requeue",)),
    "group": Scenario(messages=tuple({"task_id": name} for name in "abcd"), settings=FOUR_AT_ONCE),
    "group of each kind": Scenario(
        of_each_kind,
        ({"task_id": "a"}, {"task_id": "b", **RETRIED}, {"task_id": "c", **CALLBACK}, {"task_id": "d"}),
        extra_runs=1,
        settings=FOUR_AT_ONCE,
    ),
    "group with two messages of one id": Scenario(
        messages=({"task_id": "a"}, {"task_id": "b"}, {"task_id": "a", **OTHER}, b"no json"), settings=FOUR_AT_ONCE
    ),
    "group with a long task": Scenario(
        long_within_group, tuple({"task_id": name} for name in "abcd"), settings=FOUR_AT_ONCE
    ),
    "group, most of it recorded": Scenario(
        of_each_kind,
        ({"task_id": "a"}, {"task_id": "b", **RETRIED}, {"task_id": "c", **CALLBACK}, {"task_id": "d"}),
        extra_runs=1,
        table="recorded",
        settings=FOUR_AT_ONCE,
    ),
    # `b` takes down the worker of the group and then, alone, three more; `a` had run and was not committed. Two crashes
    # that hit another one while it runs alone are allowed
    "group with a deadly task": Scenario(
        deadly_within_group,
        tuple({"task_id": name} for name in "abc"),
        other_ends={"b": TaskStatus.FAILED},
        extra_runs=4,
        deadly=True,
        settings={**FOUR_AT_ONCE, "max_crash_count": 2},
    ),
}
