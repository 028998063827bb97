"""What a worker's process is made of when nothing in it may run by itself."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotDoneYet
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from dependency_injector import providers

from grid_async_task import TaskHandler, TaskInterrupted
from grid_async_task.bootstrap import WorkerContainer
from grid_async_task.ports import Background, Clock, Guard, Interrupts
from grid_async_task.settings import Settings
from tests.unit.world import QUEUE, Crash, Stepped

if TYPE_CHECKING:
    from tests.schedules.history import History

T = TypeVar("T")

#: seconds that a slow receiver takes; a worker waits for 1
SLOW_S = 20.0


class Process:
    """Whoever calls ports: a worker, or a command of an operator or a producer."""

    def __init__(self, history: History, name: str) -> None:
        self.history = history
        self.name = name
        self.dead = False
        #: stopped as by SIGSTOP: none of its threads goes on
        self.still = False
        #: when it last called a port, in vain or not
        self.called_at = self.began_at = history.clock.monotonic()
        #: the newest call
        self.called = ""

    def call(self, name: str, call: Callable[[], T]) -> T:
        self.check_alive()
        self.called_at = self.history.clock.monotonic()
        answer = call() if name.endswith(".close") else self.history.step(self, name, call)
        self.check_alive()
        return answer

    def die(self) -> None:
        self.dead = True
        raise Crash

    def check_alive(self) -> None:
        if self.dead:
            raise Crash

    def tick(self) -> None:
        """Time has passed: what its other threads do then."""

    @property
    def has_threads(self) -> bool:
        return False

    @property
    def heart_beats(self) -> bool:
        """Whether a lease is kept while this step lasts."""
        return False


class WorkerProcess(Process):
    """A worker, its heartbeat and its background calls, which go on whenever time passes."""

    def __init__(self, history: History, name: str, handler: TaskHandler, idle_timeout_s: float) -> None:
        super().__init__(history, name)
        self.slow_call = False
        self._seat = _SEATS.pop() if _SEATS else _Seat()
        #: threads that are in the middle of something
        self._turning: set[str] = set()
        self.source = history.broker.source(QUEUE, history.settings(idle_timeout_s).prefetch_count)
        self.interrupts = FlagInterrupts()
        background = Turns(self)
        callback_sender = Stepped(history.receiver, "callback", self)
        container = self._seat.take(
            settings=history.settings(idle_timeout_s),
            handler=handler,
            repository=Stepped(history.table, "repository", self),
            source=Stepped(self.source, "source", self),
            publisher=Stepped(history.broker.publisher(), "publisher", self),
            notifier=Stepped(history.notifier, "notifier", self),
            callback_senders={"http": callback_sender, "rabbitmq": callback_sender},
            clock=ProcessClock(self),
            background=background,
            interrupts=self.interrupts,
            randomness=random.Random(name),
            owner=name,
        )
        self._seat.leave = self.die
        self.worker = container.worker()
        self.lifecycle = container.lifecycle()
        self.attempts = container.attempts()
        self.background = background
        self._heartbeat = container.heartbeat()
        self._groups = container.groups()
        container.pace().took(0.0)  # tasks are known to be short: where messages are prefetched, they are grouped

    def run(self) -> None:
        """To its end, whichever it is. What it held is then delivered again."""
        try:
            self.worker.run()
        except Crash:
            pass
        finally:
            self.dead = True
            # the operating system closes a dead process' connections
            self.source.close()
            _SEATS.append(self._seat)

    def tick(self) -> None:
        for turn in (self._beat, self._watch, self.background.run_due):
            if self.dead or self.still or turn.__name__ in self._turning:
                continue
            self._turning.add(turn.__name__)
            try:
                turn()
            except Crash:
                pass  # the thread that runs the handler learns of it at its next step
            finally:
                self._turning.remove(turn.__name__)

    def _beat(self) -> None:
        if not self.lifecycle.leaving.is_set():
            # the body of the loop that a thread of its own runs in a real worker
            self._heartbeat._look_after_attempt()

    def _watch(self) -> None:
        # the same of the thread that watches over groups
        group = self._groups.group
        if group is not None:
            self._groups.look_after(group)

    @property
    def has_threads(self) -> bool:
        is_at_work = self.attempts.current is not None or self.background.busy or self._groups.group is not None
        return not self.dead and not self.still and is_at_work

    @property
    def heart_beats(self) -> bool:
        return self.attempts.current is not None and self._beat.__name__ not in self._turning


class _Seat:
    """A container that is used again and again: making one takes longer than most histories."""

    def __init__(self) -> None:
        self._parts: dict[str, Any] = {}
        self.leave: Callable[[], None] = lambda: None
        self._container = WorkerContainer(settings=self._part("settings"), handler=self._part("handler"))
        for port in (
            *("repository", "source", "publisher", "notifier", "callback_senders"),
            *("clock", "background", "interrupts", "randomness", "owner"),
        ):
            getattr(self._container, port).override(self._part(port))
        self._container.shutdown.add_kwargs(leave_process=lambda code: self.leave())
        self._singletons = list(self._container.traverse(types=[providers.BaseSingleton]))

    def take(self, **parts: Any) -> WorkerContainer:
        self._parts = parts
        for singleton in self._singletons:
            singleton.reset()
        return self._container

    def _part(self, name: str) -> Any:
        return providers.Callable(lambda: self._parts[name])


_SEATS: list[_Seat] = []


class ProcessClock(Clock):
    """The clock of all, in which a dead process does not wait."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._clock = process.history.clock

    def now(self) -> datetime:
        return self._clock.now()

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self._process.check_alive()
        is_set = self._clock.wait(event, seconds)
        self._process.check_alive()
        return is_set


class Turns(Background):
    """A submitted call is done at once, or, if it is slow, when its time has passed. Loops are not run."""

    def __init__(self, process: WorkerProcess) -> None:
        self._process = process
        self._clock = process.history.clock
        self._slow: list[tuple[float, _Answer[Any], Callable[[], Any]]] = []
        self.loops: dict[str, Callable[[], None]] = {}

    def loop(self, name: str, run: Callable[[], None]) -> None:
        self.loops[name] = run

    def submit(self, call: Callable[[], T]) -> Future[T]:
        return self._process.call("background.submit", lambda: self._submit(call))

    def _submit(self, call: Callable[[], T]) -> Future[T]:
        answer: _Answer[T] = _Answer(self._clock)
        if self._process.slow_call:
            self._process.slow_call = False
            self._slow.append((self._clock.monotonic() + SLOW_S, answer, call))
        else:
            answer.compute(call)
        return answer

    def run_due(self) -> None:
        while self._slow and self._slow[0][0] <= self._clock.monotonic():
            _, answer, call = self._slow[0]
            try:
                answer.compute(call)
            finally:
                del self._slow[0]

    @property
    def busy(self) -> bool:
        return bool(self._slow)

    def close(self, timeout_s: float) -> None:
        if self._slow:
            self._clock.advance(timeout_s)
        self._slow.clear()  # threads that are left behind die with the process


class _Answer(Future[T]):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def compute(self, call: Callable[[], T]) -> None:
        try:
            self.set_result(call())
        except Exception as error:
            self.set_exception(error)

    def result(self, timeout: float | None = None) -> T:
        if not self.done():
            self._clock.wait(threading.Event(), timeout or 0.0)
        if not self.done():
            raise NotDoneYet
        return super().result()


class FlagInterrupts(Interrupts):
    """An interrupt is a flag, which the handler sees whenever it works, and on leaving a shielded part."""

    def __init__(self) -> None:
        self.current = FlagGuard()

    def in_this_thread(self, limit_s: float) -> AbstractContextManager[None]:
        return nullcontext()

    def guard(self, limit_s: float) -> Guard:
        self.current = FlagGuard()
        return self.current


class FlagGuard(Guard):
    def __init__(self) -> None:
        self._interrupted = self._inside = False

    def __enter__(self) -> None:
        self._inside = True
        self.look()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.disarm()

    def disarm(self) -> None:
        self._inside = False

    def interrupt(self) -> None:
        self._interrupted = True

    @contextmanager
    def shield(self) -> Iterator[None]:
        yield
        self.look()

    def look(self) -> None:
        if self._inside and self._interrupted:
            raise TaskInterrupted("interrupted")


def settings_of(idle_timeout_s: float, own: dict[str, Any]) -> Settings:
    return Settings(
        amqp_url="memory://",
        queue=QUEUE,
        mysql_url="memory://",
        idle_timeout=idle_timeout_s,
        **{"lease_seconds": 60, "retry_delay": 60, **own},
    )
