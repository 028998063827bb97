"""The attempt as a handler in a process of its own sees it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from grid_async_task.adapters.process.link import Message
from grid_async_task.domain.checkpoint import to_checkpoint
from grid_async_task.domain.errors import GridAsyncTaskError, TaskInterrupted, ValidationError
from grid_async_task.domain.progress import Progress
from grid_async_task.ports import AttemptView, DataRefused

#: what the worker may answer with; anything else is a `GridAsyncTaskError`
_ERRORS: dict[str, type[BaseException]] = {
    error.__name__: error for error in (DataRefused, RuntimeError, TaskInterrupted, ValidationError)
}


def described(attempt: AttemptView) -> Message:
    """What the process has to know of the attempt."""
    return {
        "task_id": attempt.task_id,
        "task_data": attempt.task_data,
        "number": attempt.number,
        "checkpoint": attempt.checkpoint,
    }


class RemoteAttempt:
    """Fulfils `ports.AttemptView`: what it can't know it asks the worker."""

    def __init__(self, task: Message, send: Callable[..., None]) -> None:
        self.task_id: str = task["task_id"]
        self.number: int = task["number"]
        self.checkpoint = task["checkpoint"]
        #: set when the worker says so
        self.should_end = False
        self._task_data: dict[str, Any] = task["task_data"]
        self._send = send
        self._numbers = itertools.count()
        self._waiting: dict[int, SimpleQueue[Message]] = {}

    # -- for the handler ------------------------------------------------------------------------

    @property
    def task_data(self) -> dict[str, Any]:
        return dict(self._task_data)

    @property
    def cancelled(self) -> bool:
        # the worker has to know that it was read as true
        return self.should_end and bool(self._ask("cancelled"))

    def report(self, progress: Any, message: Any) -> None:
        newest = Progress.of(progress, message)
        self._send("progress", percent=newest.percent, message=newest.message)

    def save_checkpoint(self, value: Any) -> None:
        self._ask("save_checkpoint", to_checkpoint(value))
        self.checkpoint = value

    def acknowledge(self) -> None:
        self._ask("acknowledge")

    def reject(self, *, requeue: bool) -> None:
        self._ask("reject", bool(requeue))

    # -- for the thread that hears the worker ---------------------------------------------------

    def answered(self, answer: Message) -> None:
        waiting = self._waiting.get(answer["ask"])
        if waiting is not None:
            waiting.put(answer)

    def _ask(self, what: str, *arguments: Any) -> Any:
        number = next(self._numbers)
        answers = self._waiting[number] = SimpleQueue()
        try:
            self._send("ask", ask=number, what=what, arguments=arguments)
            answer = answers.get()
        finally:
            del self._waiting[number]
        if answer["raised"] is not None:
            raise _ERRORS.get(answer["raised"], GridAsyncTaskError)(answer["text"])
        return answer["value"]
