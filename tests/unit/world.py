"""A whole installation in memory, in which a worker can be killed before or after any call of a port.

Nothing here runs by itself: time is a fake clock, what a worker does in the background is done at
once or on demand. For tests of one case; schedules of faults by the thousand are in tests/schedules.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from dependency_injector import providers

from grid_async_task import TaskHandler
from grid_async_task.adapters.memory import (
    FakeClock,
    MemoryBroker,
    MemoryTaskRepository,
    RecordingCallbackSender,
    RecordingNotifier,
)
from grid_async_task.adapters.process.interrupts import NO_GUARD
from grid_async_task.bootstrap import WorkerContainer
from grid_async_task.domain.task import Task, TaskStatus
from grid_async_task.ports import Background, Guard, Interrupts, OutgoingMessage
from grid_async_task.settings import Settings

T = TypeVar("T")

QUEUE = "work"


class Crash(BaseException):
    """The process is gone. Nothing of ours catches it."""


class Inline(Background):
    """What is submitted is done at once; loops are not run: a test drives them by hand."""

    def loop(self, name: str, run: Callable[[], None]) -> None:
        return None

    def submit(self, call: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(call())
        except Exception as error:
            future.set_exception(error)
        return future

    @property
    def busy(self) -> bool:
        return False

    def close(self, timeout_s: float) -> None:
        return None


class Uninterrupted(Interrupts):
    """Handlers run to their end."""

    def in_this_thread(self, limit_s: float) -> AbstractContextManager[None]:
        return nullcontext()

    def guard(self, limit_s: float) -> Guard:
        return NO_GUARD


@dataclass
class Steps:
    """Counts the calls of ports, and crashes the process at the one that was chosen."""

    #: number of the call (from 0) at which the process dies; None: it lives
    at: int | None = None
    #: the call is carried out, and its answer lost
    after: bool = False
    taken: int = 0
    dead: bool = False
    log: list[str] = field(default_factory=list)

    def call(self, name: str, call: Callable[[], T]) -> T:
        if self.dead:
            raise Crash
        number = self.taken
        self.taken += 1
        self.log.append(name)
        chosen = number == self.at
        if chosen and not self.after:
            self.die()
        answer = call()
        if chosen and self.after:
            self.die()
        return answer

    def die(self) -> None:
        self.dead = True
        raise Crash


class Caller(Protocol):
    """Whoever calls a port."""

    def call(self, name: str, call: Callable[[], T]) -> T: ...


class Stepped:
    """Any port, each of whose methods is a step."""

    def __init__(self, port: Any, name: str, steps: Caller) -> None:
        self._port = port
        self._name = name
        self._steps = steps

    def __getattr__(self, method: str) -> Any:
        found = getattr(self._port, method)
        if not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            return self._steps.call(f"{self._name}.{method}", lambda: found(*args, **kwargs))

        return call


@dataclass
class World:
    """Broker, table, receiver of callbacks, and however many workers one after another or at once."""

    clock: FakeClock = field(default_factory=FakeClock)
    settings: dict[str, Any] = field(default_factory=dict)
    executions: list[tuple[str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.broker = MemoryBroker(self.clock)
        self.table = MemoryTaskRepository(self.clock)
        self.receiver = RecordingCallbackSender()
        self.notifier = RecordingNotifier()
        #: of the worker that was started last
        self.steps = Steps()

    def container(self, handler: TaskHandler, steps: Steps, *, idle_timeout: float = 0.5) -> WorkerContainer:
        settings = Settings(
            amqp_url="memory://",
            queue=QUEUE,
            mysql_url="memory://",
            idle_timeout=idle_timeout,
            **{"lease_seconds": 60, "retry_delay": 60, **self.settings},
        )
        container = WorkerContainer(settings=providers.Object(settings), handler=providers.Object(handler))
        ports: dict[str, Any] = {
            "repository": Stepped(self.table, "repository", steps),
            "source": Stepped(self.broker.source(QUEUE), "source", steps),
            "publisher": Stepped(self.broker.publisher(), "publisher", steps),
            "notifier": Stepped(self.notifier, "notifier", steps),
            "callback_senders": {
                "http": Stepped(self.receiver, "callback", steps),
                "rabbitmq": Stepped(self.receiver, "callback", steps),
            },
            "clock": self.clock,
            "background": Inline(),
            "interrupts": Uninterrupted(),
        }
        for name, port in ports.items():
            getattr(container, name).override(providers.Object(port))
        return container

    def work(self, handler: TaskHandler, steps: Steps | None = None, *, idle_timeout: float = 0.5) -> bool:
        """One worker from its start to its end; True if it crashed. What it held is then delivered again."""
        self.steps = steps = steps or Steps()
        container = self.container(handler, steps, idle_timeout=idle_timeout)
        try:
            container.worker().run()
        except Crash:
            pass
        finally:
            # the operating system closes a dead process' connections
            container.source()._port.close()
        return steps.dead

    def until_quiet(self, handler_of: Callable[[], TaskHandler], *, rounds: int = 60) -> None:
        """What an autoscaler does: start a worker whenever a message is ready, until none is left anywhere."""
        for _ in range(rounds):
            if not self.broker.waiting_for(QUEUE):
                return
            if not self.broker.ready(QUEUE):
                self.clock.advance(self.broker.seconds_to_next() or 0.0)
            self.work(handler_of())
        raise AssertionError(f"not quiet after {rounds} workers: {self.broker.waiting_for(QUEUE)}")

    def send(self, body: bytes) -> None:
        self.broker.put(OutgoingMessage(QUEUE, body))

    def row(self, task_id: str) -> Task:
        reading = self.table.read(task_id)
        assert reading is not None, f"no row of {task_id}"
        return reading.task

    def rows(self) -> list[Task]:
        return list(self.table._rows.values())

    def without_ticket(self) -> list[str]:
        """Ids that still need something although no message is there for them (SPEC 4.5)."""
        bodies = b"".join(message.body for message in self.broker.waiting_for(QUEUE))
        return [task.id for task in self.rows() if needs_something(task) and f'"{task.id}"'.encode() not in bodies]


def needs_something(task: Task) -> bool:
    return task.wake_at is not None if task.status.is_final else task.status in TaskStatus
