"""Every error that a user of the package may meet, and what a handler may raise on purpose."""

from __future__ import annotations

import builtins


class GridAsyncTaskError(Exception):
    """The base of all errors of this package."""


class ConfigurationError(GridAsyncTaskError):
    """Something must be changed by a person (a setting, a login, a table) before a worker can run."""


class ValidationError(GridAsyncTaskError):
    """The task's input is wrong. Never retried. Handlers may raise it themselves."""


class ConnectionError(GridAsyncTaskError, builtins.ConnectionError):
    """A server could not be reached, or did not answer in time.

    `task_id` and `maybe_sent` are set where a task was being sent: with `maybe_sent` true
    the broker may have taken the task, and sending it again with the same id is safe.
    """

    def __init__(self, message: str, *, task_id: str | None = None, maybe_sent: bool = False) -> None:
        super().__init__(message)
        self.task_id = task_id
        self.maybe_sent = maybe_sent


class TimeoutError(GridAsyncTaskError, builtins.TimeoutError):
    """An attempt took longer than its time limit. It is raised inside the handler."""


class RetryExhausted(GridAsyncTaskError):
    """A task failed, had retries, and used them all."""


class TaskCancelled(GridAsyncTaskError):
    """Somebody asked for the task to be cancelled. A handler that stops for it may raise this."""


class PermanentCallbackError(GridAsyncTaskError):
    """Raised by a callback sender: sending this callback again would not help."""


class IllegalTransition(GridAsyncTaskError):
    """A task was asked to go from one state to another that can't follow it (SPEC section 3)."""

    def __init__(self, task_id: str, before: str, after: str) -> None:
        super().__init__(f"task {task_id!r} can't go from {before!r} to {after!r}")
        self.before = before
        self.after = after


class BatchError(GridAsyncTaskError):
    """Some tasks of a batch were not sent. `accepted` are the ids that were; `failed` maps an item's index to why."""

    def __init__(self, accepted: list[str], failed: dict[int, Exception]) -> None:
        first = min(failed)
        sent = f"{len(accepted)} were sent" if accepted else "none was sent"
        super().__init__(f"{len(failed)} tasks of the batch failed, {sent}; the first is item {first}: {failed[first]}")
        self.accepted = accepted
        self.failed = failed


#: seconds; a handler's own delay is no longer than a year
MAX_DELAY_S = 365 * 86_400.0


class Retry(GridAsyncTaskError):
    """Raised by a handler: this attempt failed, try again after `after` seconds (at least 1). Costs a retry."""

    #: what counts for a subclass that does not call this class' `__init__`
    after: float = 1.0

    def __init__(self, after: float, reason: str = "the handler asked for a retry") -> None:
        super().__init__(reason)
        self.after = min(MAX_DELAY_S, max(1.0, float(after)))


class Snooze(GridAsyncTaskError):
    """Raised by a handler: nothing to do yet, run again after `seconds` (at least 1). Costs no retry."""

    #: what counts for a subclass that does not call this class' `__init__`
    seconds: float = 1.0

    def __init__(self, seconds: float) -> None:
        super().__init__(f"snoozed for {seconds} s")
        self.seconds = min(MAX_DELAY_S, max(1.0, float(seconds)))


class Discard(GridAsyncTaskError):
    """Raised by a handler: the task fails now, whatever retries are left."""

    def __init__(self, reason: str = "the handler discarded the task") -> None:
        super().__init__(reason)


class TaskInterrupted(BaseException):
    """Raised inside the handler when the worker has to stop, or has lost its claim.

    Not an `Exception`, so that a handler's own `except Exception` does not hold it up.
    The attempt is handed back and costs no retry.
    """
