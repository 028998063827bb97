"""The program of a handler's own process. The worker is at the other end of a pipe."""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from multiprocessing import spawn
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import structlog

from grid_async_task.adapters.process.endings import to_plain
from grid_async_task.adapters.process.in_process import InProcessRun, InProcessRunner
from grid_async_task.adapters.process.interrupts import SignalInterrupts
from grid_async_task.adapters.process.link import Link, Message
from grid_async_task.adapters.process.remote_attempt import RemoteAttempt
from grid_async_task.adapters.process.stop_signals import STOP_SIGNALS, as_python_has_them
from grid_async_task.domain.errors import ConfigurationError, TimeoutError
from grid_async_task.handler import TaskHandler

#: of linux/prctl.h
PR_SET_PDEATHSIG = 1
#: of -1000 to 1000: when memory is short, the kernel kills the handler and not its worker
OOM_SCORE = 500

log = structlog.get_logger(__name__)

#: this process is about to import the program that has started the worker
is_loading = False


@dataclass(frozen=True)
class Setup:
    """What the process needs to begin. The worker pickles it for this process, which it has started itself."""

    #: the handler, pickled
    handler: bytes
    #: how the worker's `__main__` is imported, where the handler is of it; for `multiprocessing.spawn.prepare`
    main_module: dict[str, Any]
    time_limit_s: float
    result_max_bytes: int
    #: called with what takes a log line to the worker
    forward_logs: Callable[[Callable[[dict[str, Any]], None]], None]


def main(descriptor: int, worker: int) -> None:
    """Run until the worker says so or is gone."""
    os.set_inheritable(descriptor, False)
    _end_with(worker)
    _leave_signals_to_the_worker()
    connection = Connection(descriptor)
    try:
        setup: Setup = pickle.loads(connection.recv_bytes())
    except (EOFError, OSError):
        return
    _HandlerProcess(Link(connection), setup).run()


def _end_with(worker: int) -> None:
    """Die when the worker does, also in a C call. The end of the pipe says the same, everywhere, but needs the GIL."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))
    if os.getppid() != worker:
        sys.exit(1)


def _leave_signals_to_the_worker() -> None:
    """A stop that is sent to all processes of a service is the worker's business. A copy of this one dies of it."""
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: None)
    os.register_at_fork(after_in_child=as_python_has_them)


class _HandlerProcess:
    def __init__(self, link: Link, setup: Setup) -> None:
        self._link = link
        self._setup = setup
        self._run: InProcessRun | None = None
        self._attempt: RemoteAttempt | None = None
        #: for the main thread, in which handlers run
        self._orders: SimpleQueue[tuple[Message, InProcessRun | None, RemoteAttempt | None]] = SimpleQueue()
        self._interrupts = SignalInterrupts()

    def run(self) -> None:
        self._setup.forward_logs(lambda line: self._send("log", line=line))
        threading.Thread(target=self._hear, name="grid-async-task worker's voice", daemon=True).start()
        try:
            self._runner = self._load()
        except ConfigurationError as error:
            self._send("refused", error=str(error))
            return
        except BaseException as error:
            log.exception("the handler could not be loaded")
            why = f"the handler could not be loaded in its own process: {type(error).__name__}: {error}"
            self._send("refused", error=why)
            return
        with self._runner.in_this_thread():
            self._send("ready")
            self._obey()

    def _load(self) -> InProcessRunner:
        global is_loading
        is_loading = True
        spawn.prepare(self._setup.main_module)
        handler: TaskHandler = pickle.loads(self._setup.handler)
        is_loading = False
        return InProcessRunner(
            handler,
            self._interrupts,
            time_limit_s=self._setup.time_limit_s,
            result_max_bytes=self._setup.result_max_bytes,
        )

    def _obey(self) -> None:
        while True:
            order, run, attempt = self._orders.get()
            match order["kind"]:
                case "task" if run is not None and attempt is not None:
                    if order["failed"] is None:
                        ending = run.run(attempt)
                    else:
                        ending = run.fail(attempt, TimeoutError(order["failed"]))
                    self._send("ended", ending=to_plain(ending))
                case "complete":
                    self._runner.complete()
                    self._send("completed")
                case "forget":
                    self._runner.forget()
                case "leave":
                    return

    def _hear(self) -> None:
        """The thread that reads: it alone is free while a handler runs."""
        while (message := self._link.receive()) is not None:
            run, attempt = self._run, self._attempt
            match message["kind"]:
                case "task":
                    run = self._run = self._runner.start()
                    run.on_left = lambda: self._send("left")
                    attempt = self._attempt = RemoteAttempt(message, self._send)
                    self._orders.put((message, run, attempt))
                case "interrupt" if run is not None:
                    run.interrupt()
                case "cancel" if attempt is not None:
                    attempt.should_end = True
                case "answer" if attempt is not None:
                    attempt.answered(message)
                case _:
                    self._orders.put((message, None, None))
        os.killpg(0, signal.SIGKILL)  # the worker is gone, and so is the claim

    def _send(self, kind: str, **fields: Any) -> None:
        with self._untorn():
            self._link.send(kind, **fields)

    def _untorn(self) -> AbstractContextManager[None]:
        """A time limit that strikes in the middle of a message would leave the worker with half of it."""
        return nullcontext() if self._run is None else self._run.shield()
