"""The handler in the worker's own process; and the same, behind a pipe, in a process of its own."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import structlog

from grid_async_task.domain.errors import Retry, Snooze, TaskInterrupted, ValidationError
from grid_async_task.domain.failure import Failure
from grid_async_task.domain.result import ResultNotStorable, to_result
from grid_async_task.handler import TaskHandler
from grid_async_task.ports import (
    AskedToSnooze,
    AttemptView,
    Ending,
    Guard,
    HandlerRun,
    HandlerRunner,
    Interrupted,
    Interrupts,
    Raised,
    Returned,
)

log = structlog.get_logger(__name__)


class InProcessRunner(HandlerRunner):
    def __init__(
        self, handler: TaskHandler, interrupts: Interrupts, *, time_limit_s: float, result_max_bytes: int
    ) -> None:
        self.handler = handler
        self.result_max_bytes = result_max_bytes
        #: what the handler returned last
        self.value: Any = None
        self._interrupts = interrupts
        self._time_limit_s = time_limit_s

    def in_this_thread(self) -> AbstractContextManager[None]:
        return self._interrupts.in_this_thread(self._time_limit_s)

    def start(self) -> InProcessRun:
        return InProcessRun(self, self._interrupts.guard(self._time_limit_s))

    def complete(self) -> None:
        _call_hook("on_task_complete", lambda: self.handler.on_task_complete(self.value))

    def forget(self) -> None:
        self.handler._grid_attempt = None
        self.value = None


class InProcessRun(HandlerRun):
    def __init__(self, runner: InProcessRunner, guard: Guard) -> None:
        self._runner = runner
        self._handler = runner.handler
        self._guard = guard
        #: called when the code that a time limit holds for has been left
        self.on_left: Callable[[], None] = lambda: None

    def interrupt(self) -> None:
        self._guard.interrupt()

    def shield(self) -> AbstractContextManager[None]:
        return self._guard.shield()

    def run(self, attempt: AttemptView) -> Ending:
        self._handler._grid_attempt = attempt
        try:
            return self._run(attempt.task_data["data"])
        finally:
            self._guard.disarm()

    def fail(self, attempt: AttemptView, error: BaseException) -> Raised:
        """The attempt has failed elsewhere: the hooks that follow a failure."""
        self._handler._grid_attempt = attempt
        return self._after(error)

    def _run(self, data: dict[str, Any]) -> Ending:
        try:
            try:
                with self._guard:
                    value = self._call_handler(data)
            finally:
                self.on_left()
            result = to_result(value, self._runner.result_max_bytes)
        except TaskInterrupted:
            return Interrupted()
        except Snooze as snooze:
            return AskedToSnooze(snooze.seconds)
        except BaseException as error:
            return self._after(error)
        self._runner.value = value
        return Returned(result)

    def _call_handler(self, data: dict[str, Any]) -> Any:
        if not self._handler.validate_task_data(data):
            raise ValidationError("validate_task_data refused the task's data")
        self._handler.on_task_start()
        value = self._handler.execute(data)
        return asyncio.run(_awaited(value)) if inspect.isawaitable(value) else value

    def _after(self, error: BaseException) -> Raised:
        failure = Failure.of(error, retryable=not isinstance(error, ResultNotStorable))
        if failure.retryable and not isinstance(error, Retry):
            failure = self._judged_by_handler(failure, error)
        _call_hook("on_task_error", lambda: self._handler.on_task_error(error))
        return Raised(failure, error.after if isinstance(error, Retry) else None)

    def _judged_by_handler(self, failure: Failure, error: BaseException) -> Failure:
        try:
            return replace(failure, retryable=bool(self._handler.should_retry(error)))
        except BaseException as worse:
            return Failure.of(worse)


async def _awaited(value: Any) -> Any:
    return await value


def _call_hook(name: str, hook: Callable[[], None]) -> None:
    try:
        hook()
    except BaseException as error:
        log.exception("a hook of the handler failed; the task's outcome stands", hook=name, error=repr(type(error)))
