from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import structlog

from grid_async_task.domain.errors import GridAsyncTaskError
from grid_async_task.ports import Background

T = TypeVar("T")

log = structlog.get_logger(__name__)


class ThreadBackground(Background):
    """A daemon thread for each: none of them can keep the process from leaving.

    A submitted call that has taken longer than `hung_after_s` is waited for no more, at no end of the worker.
    """

    def __init__(self, *, hung_after_s: float) -> None:
        self._hung_after_s = hung_after_s
        self._changed = threading.Condition()
        #: when each submitted call began that is under way
        self._began_at: dict[Future[Any], float] = {}

    def loop(self, name: str, run: Callable[[], None]) -> None:
        def logged() -> None:
            try:
                run()
            except GridAsyncTaskError as error:
                log.error("background thread ended", thread=name, error=str(error))

        threading.Thread(target=logged, name=name, daemon=True).start()

    def submit(self, call: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()
        with self._changed:
            self._began_at[future] = time.monotonic()

        def run() -> None:
            try:
                future.set_result(call())
            except BaseException as error:
                future.set_exception(error)
            finally:
                with self._changed:
                    del self._began_at[future]
                    self._changed.notify_all()

        threading.Thread(target=run, name="grid-async-task call", daemon=True).start()
        return future

    @property
    def busy(self) -> bool:
        with self._changed:
            return self._worth_waiting_until() > time.monotonic()

    def close(self, timeout_s: float) -> None:
        ends_at = time.monotonic() + timeout_s
        with self._changed:
            while (left_s := min(ends_at, self._worth_waiting_until()) - time.monotonic()) > 0:
                self._changed.wait(left_s)

    def _worth_waiting_until(self) -> float:
        return max(self._began_at.values(), default=float("-inf")) + self._hung_after_s
