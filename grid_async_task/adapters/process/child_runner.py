"""The handler in a process of its own (`ISOLATION=process`): whatever it does, the worker goes on."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from multiprocessing import spawn
from typing import Any

import structlog

from grid_async_task.adapters.process import child_main
from grid_async_task.adapters.process.child_process import ChildProcess
from grid_async_task.adapters.process.endings import from_plain
from grid_async_task.domain.errors import ConfigurationError, TimeoutError
from grid_async_task.domain.failure import Failure, process_lost
from grid_async_task.handler import TaskHandler
from grid_async_task.ports import AttemptView, Died, Ending, HandlerRun, HandlerRunner, Interrupted, Raised

#: seconds that a handler gets after its time limit, to end by the exception raised in it; then its process is killed
AFTER_LIMIT_S = 5.0
#: the same after an interruption; less than what the worker's own end waits for a handler
AFTER_INTERRUPT_S = 3.0
#: seconds until it is seen that the task is to be cancelled, or the worker to stop
LOOK_EVERY_S = 0.2

log = structlog.get_logger(__name__)


class ChildProcessRunner(HandlerRunner):
    """Keeps one process, and uses it for all attempts; one that has died is replaced when the next needs it.

    The handler is what it was when this was made: it is pickled then, once, and unpickled in
    each process. Raises `ConfigurationError` for one that can't be pickled.
    """

    def __init__(
        self,
        handler: TaskHandler,
        *,
        time_limit_s: float,
        result_max_bytes: int,
        forward_logs: Callable[[Callable[[dict[str, Any]], None]], None],
        write_line: Callable[[dict[str, Any]], None],
        stopping: threading.Event,
    ) -> None:
        if child_main.is_loading:
            raise ConfigurationError(
                "the handler's process imports the program that it was started by, and that starts a worker when it"
                ' is merely imported: put the start under `if __name__ == "__main__":`'
            )
        self.time_limit_s = time_limit_s
        self._setup = _setup(handler, time_limit_s, result_max_bytes, forward_logs)
        self._write_line = write_line
        self._stopping = stopping
        self._child: ChildProcess | None = None

    @contextmanager
    def in_this_thread(self) -> Iterator[None]:
        try:
            self._see_it_loaded(self.child())
            yield
        finally:
            if self._child is not None:
                if not self._child.is_ready:
                    self._child.kill()
                self._child.leave()

    def start(self) -> HandlerRun:
        return _ChildRun(self)

    def complete(self) -> None:
        child = self._child
        assert child is not None
        child.send("complete")
        while (news := child.news.get())["kind"] != "completed":
            if news["kind"] == "died":
                log.error("lost in on_task_complete; the task's outcome stands", error=news["how"])
                return

    def forget(self) -> None:
        if self._child is not None:
            self._child.forget()

    def child(self) -> ChildProcess:
        """The one that is alive, or a new one, which has yet to load the handler."""
        if self._child is not None and not self._child.is_alive:
            self._child.leave()
            self._child = None
        if self._child is None:
            self._child = ChildProcess(self._setup, self._write_line)
            log.info("handler's process started", pid=self._child.pid)
        return self._child

    def _see_it_loaded(self, child: ChildProcess) -> None:
        """So that a handler that can't be had ends the worker before it takes a task. A stop is not waited with."""
        while not child.is_ready and not self._stopping.is_set():
            match child.heard_within(LOOK_EVERY_S):
                case {"kind": "ready"}:
                    child.is_ready = True
                case {"kind": "refused", "error": why}:
                    raise ConfigurationError(why)
                case {"kind": "died", "how": how}:
                    raise ConfigurationError(f"{how} while it loaded the handler")


class _ChildRun(HandlerRun):
    def __init__(self, runner: ChildProcessRunner) -> None:
        self._runner = runner
        self._child: ChildProcess | None = None
        self._interrupted = False
        #: when the process is killed, by the monotonic clock
        self._kill_at = float("inf")
        self._was_killed = False
        #: it knows that the task is to be cancelled
        self._told_to_end = False

    def interrupt(self) -> None:
        # the mark first: a run that begins in between sees it
        self._interrupted = True
        if self._child is not None:
            self._child.news.put({"kind": "interrupt"})

    def shield(self) -> AbstractContextManager[None]:
        return nullcontext()  # what is interrupted is another process

    def run(self, attempt: AttemptView) -> Ending:
        self._child = self._runner.child()
        if self._interrupted:
            return Interrupted()
        ending = self._ending_of(self._child, attempt)
        if not isinstance(ending, Died):
            return ending
        if self._interrupted:
            return Interrupted()
        return self._timed_out(attempt) if self._was_killed else ending

    def _ending_of(self, child: ChildProcess, attempt: AttemptView, *, failed: str | None = None) -> Ending:
        if child.is_ready:
            self._begin(child, attempt, failed)
        while True:
            self._kill_or_tell(child, attempt)
            match child.heard_within(min(LOOK_EVERY_S, self._kill_at - time.monotonic())):
                case {"kind": "ready"}:
                    child.is_ready = True
                    if self._interrupted:
                        return Interrupted()
                    self._begin(child, attempt, failed)
                case {"kind": "refused", "error": why}:
                    raise ConfigurationError(why)
                case {"kind": "left"} if not self._interrupted:
                    self._kill_at = float("inf")
                case {"kind": "interrupt"} if self._interrupted:  # else it was for the run before
                    child.send("interrupt")
                    self._kill_at = min(self._kill_at, time.monotonic() + AFTER_INTERRUPT_S)
                case {"kind": "ended", "ending": plain}:
                    return from_plain(plain)
                case {"kind": "died", "how": how}:
                    return Died(process_lost(how))

    def _begin(self, child: ChildProcess, attempt: AttemptView, failed: str | None) -> None:
        child.begin(attempt, failed=failed)
        if self._runner.time_limit_s and failed is None:
            self._kill_at = time.monotonic() + self._runner.time_limit_s + AFTER_LIMIT_S

    def _kill_or_tell(self, child: ChildProcess, attempt: AttemptView) -> None:
        if time.monotonic() >= self._kill_at:
            log.warning("the handler does not end, killing its process", pid=child.pid)
            self._was_killed = True
            self._kill_at = float("inf")
            child.kill()
        if attempt.should_end and not self._told_to_end:
            self._told_to_end = True
            child.send("cancel")

    def _timed_out(self, attempt: AttemptView) -> Raised:
        """A failed attempt like any other: its hooks are called, in the next process."""
        text = (
            f"the attempt took longer than its limit of {self._runner.time_limit_s:g} s (TASK_TIMEOUT) and could not"
            " be interrupted; its process was killed"
        )
        self._child = self._runner.child()
        self._told_to_end = False
        try:
            ending = self._ending_of(self._child, attempt, failed=text)
        except ConfigurationError as error:
            log.error("the hooks of the failed attempt could not be called", error=str(error))
        else:
            if isinstance(ending, Raised):
                return ending
        return Raised(Failure.of(TimeoutError(text)))


def _setup(
    handler: TaskHandler,
    time_limit_s: float,
    result_max_bytes: int,
    forward_logs: Callable[[Callable[[dict[str, Any]], None]], None],
) -> bytes:
    try:
        pickled = pickle.dumps(handler)
    except Exception as error:
        raise ConfigurationError(
            f"the handler can't be sent to its own process (ISOLATION=process): {type(error).__name__}: {error}."
            " Its class has to stand at the top level of a module; connections, locks and models are made in"
            " on_task_start or on first use, not in __init__"
        ) from None
    main_module: dict[str, Any] = {}
    if b"__main__" in pickled:
        wanted = ("sys_argv", "init_main_from_name", "init_main_from_path")
        given = spawn.get_preparation_data("grid-async-task handler")
        main_module = {name: value for name, value in given.items() if name in wanted}
    return pickle.dumps(child_main.Setup(pickled, main_module, time_limit_s, result_max_bytes, forward_logs))
