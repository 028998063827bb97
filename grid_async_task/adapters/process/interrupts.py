"""Interrupting the handler with SIGALRM, which reaches code that blocks; asynchronous exceptions do not."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

from grid_async_task.domain.errors import ConfigurationError, TaskInterrupted, TimeoutError
from grid_async_task.ports import Guard, Interrupts

#: a handler that swallows its interruption is interrupted again every so many seconds
AGAIN_AFTER_S = 2.0


class SignalInterrupts(Interrupts):
    """Works in the main thread, where Python runs its signal handlers; elsewhere nothing can be interrupted."""

    def __init__(self) -> None:
        self.current: _SignalGuard | None = None
        #: from another thread, ever
        self.has_interrupted = False
        self._works_here = False

    @contextmanager
    def in_this_thread(self, limit_s: float) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            if limit_s:
                raise ConfigurationError(
                    "TASK_TIMEOUT needs a worker in the main thread of its process: "
                    "only there can a handler be interrupted, unless it has a process of its own (ISOLATION=process)"
                )
            yield
            return
        before = signal.signal(signal.SIGALRM, self._on_alarm)
        self._works_here = True
        try:
            yield
        finally:
            self._works_here = False
            if self.has_interrupted:
                # perhaps in the very moment of a handler's end, so that its alarm began after it had been turned off
                signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def guard(self, limit_s: float) -> Guard:
        return _SignalGuard(self, limit_s) if self._works_here else NO_GUARD

    def _on_alarm(self, number: int, frame: FrameType | None) -> None:
        # An exception out of the guard's own entrance or exit would leave it armed; out of a lock's, that one held.
        if self.current is not None and (frame is None or frame.f_code not in _DOORS):
            self.current.alarm()


class _SignalGuard(Guard):
    def __init__(self, interrupts: SignalInterrupts, limit_s: float) -> None:
        self._interrupts = interrupts
        self._limit_s = limit_s
        self._began = 0.0
        self._interrupted = False
        self._shielded = False
        self._came_meanwhile = False

    def __enter__(self) -> None:
        self._began = time.monotonic()
        self._interrupts.current = self
        if self._limit_s:
            signal.setitimer(signal.ITIMER_REAL, self._limit_s, AGAIN_AFTER_S)
        self.alarm()  # an interrupt may have come before the handler began

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.disarm()

    def disarm(self) -> None:
        self._interrupts.current = None
        if self._limit_s or self._interrupted:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def interrupt(self) -> None:
        self._interrupted = self._interrupts.has_interrupted = True
        if self._interrupts.current is self:
            # again and again: the first may come where it can't be raised, or be swallowed
            signal.setitimer(signal.ITIMER_REAL, AGAIN_AFTER_S, AGAIN_AFTER_S)
            signal.pthread_kill(_main_thread(), signal.SIGALRM)

    @contextmanager
    def shield(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield  # nothing is raised here
            return
        self._came_meanwhile = False
        self._shielded = True
        try:
            yield
        finally:
            self._shielded = False
        if self._came_meanwhile:
            self.alarm()

    def alarm(self) -> None:
        if self._shielded:
            self._came_meanwhile = True
            return
        if self._interrupted:
            raise TaskInterrupted("the worker has to stop this attempt")
        if self._limit_s and time.monotonic() - self._began >= self._limit_s:
            raise TimeoutError(f"the attempt took longer than its limit of {self._limit_s:g} s (TASK_TIMEOUT)")


#: Python code in which nothing is raised; the next alarm comes soon. The locks are those that the handler's thread
#: shares with ours: one that is never released would stop the heartbeat, and every log line.
_DOORS = frozenset(
    function.__code__
    for function in (
        _SignalGuard.__enter__,
        _SignalGuard.__exit__,
        _SignalGuard.disarm,
        threading.Condition.__enter__,
        threading.Condition.__exit__,
        logging.Handler.acquire,
        logging.Handler.release,
    )
)


class _NoGuard(Guard):
    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def disarm(self) -> None:
        return None

    def interrupt(self) -> None:
        return None

    @contextmanager
    def shield(self) -> Iterator[None]:
        yield


NO_GUARD = _NoGuard()


def _main_thread() -> int:
    identity = threading.main_thread().ident
    assert identity is not None
    return identity
