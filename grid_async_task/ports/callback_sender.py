from __future__ import annotations

from typing import Protocol

from grid_async_task.domain.callback import Callback
from grid_async_task.domain.errors import GridAsyncTaskError


class CallbackFailed(GridAsyncTaskError):
    """This try failed. `retry_after_s` is what the receiver asked for, if it did."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class CallbackDeferred(GridAsyncTaskError):
    """This was no try: the way to the receiver (a broker) is down, which says nothing about the receiver."""


class CallbackSender(Protocol):
    """A way to tell somebody how a task ended. Any object with this method will do."""

    def send(self, callback: Callback) -> None:
        """Deliver the callback; returning means that the receiver has it.

        Raising `PermanentCallbackError` gives the callback up; `CallbackDeferred` does not count as a
        try; anything else is a failed try. May be called from several threads at once, and
        again for a callback that was delivered already: the receiver drops repeats by `callback.id`.
        A call should have a time limit: one that hangs keeps one of the few places that its sink has in this process.
        """
        ...
