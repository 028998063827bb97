"""`TaskHandler`: what a team writes to have its tasks done."""

from __future__ import annotations

from typing import Any

from grid_async_task.ports.attempt_view import AttemptView


class _OfTheAttempt:
    """Reads a value of the running attempt. A handler that sets an attribute of this name hides it; nothing breaks."""

    def __init__(self, name: str, while_none_runs: Any) -> None:
        self._name = name
        self._while_none_runs = while_none_runs

    def __get__(self, handler: TaskHandler | None, owner: type[TaskHandler]) -> Any:
        attempt = None if handler is None else handler._grid_attempt
        return self._while_none_runs if attempt is None else getattr(attempt, self._name)


def _of_the_attempt(name: str, while_none_runs: Any) -> Any:
    """For type checkers: what the descriptor gives, not the descriptor."""
    return _OfTheAttempt(name, while_none_runs)


class TaskHandler:
    """Subclass it and write `execute`. One instance serves one worker; `__init__` need not be called.

    The hooks run in this order: `validate_task_data`, `on_task_start`, `execute`, then
    `on_task_error` or `on_task_complete`. What the first three or `should_retry` raise fails the
    attempt; what the last two raise is logged only.
    """

    _grid_attempt: AttemptView | None = None

    def execute(self, task_data: dict[str, Any]) -> Any:
        """Do the task: `task_data` is the message's `data`. May be `async def`.

        What it returns is the task's result: a JSON object as it is, None as `{}`, any other
        JSON value as `{"data": value}`. It may raise `Retry`, `Snooze` or `Discard`; any other
        exception is a failed attempt.
        """
        raise NotImplementedError(f"{type(self).__name__} has to define execute(self, task_data)")

    # -- hooks ----------------------------------------------------------------------------------

    def validate_task_data(self, task_data: dict[str, Any]) -> bool:
        """False fails the task with `ValidationError`; it is not retried."""
        return True

    def on_task_start(self) -> None:
        """Before `execute`."""

    def on_task_complete(self, result: Any) -> None:
        """After a success has been committed. Called once, or not at all if the worker dies just then."""

    def on_task_error(self, error: BaseException) -> None:
        """After every failed attempt, before its outcome is committed."""

    def should_retry(self, error: BaseException) -> bool:
        """False: this error fails the task now, whatever retries are left."""
        return True

    # -- the task that runs ---------------------------------------------------------------------

    #: the id of the running task; None while none runs
    task_id: str | None = _of_the_attempt("task_id", None)
    #: the whole message of the running task, with defaults for what it leaves out, and fields that we do not know
    task_data: dict[str, Any] | None = _of_the_attempt("task_data", None)
    #: 1, 2, ... of this execution: a fencing token for the handler's own writes; 0 while no task runs
    attempt: int = _of_the_attempt("number", 0)
    #: what `save_checkpoint` stored last for this task, on whichever worker; None at first
    checkpoint: Any = _of_the_attempt("checkpoint", None)
    #: True once somebody asked for a cancel, or the claim is lost: stop soon. A handler that read it as true and then
    #: returns is taken to have stopped early: the task is `failed` with `TaskCancelled`. One that never looked has
    #: finished its work, and its result counts.
    cancelled: bool = _of_the_attempt("cancelled", False)

    def get_task_id(self) -> str | None:
        return self.task_id

    def get_task_data(self) -> dict[str, Any] | None:
        return self.task_data

    def report_progress(self, progress: float, message: str = "") -> None:
        """How far the task is, 0 to 100, and what it does. Returns at once and never fails the task."""
        if self._grid_attempt is not None:
            self._grid_attempt.report(progress, message)

    def save_checkpoint(self, value: Any) -> None:
        """Store any JSON value, so that an interrupted task resumes where it was. It is safe once this returns.

        Waits while the database is away. Raises `ValidationError` for what is not JSON.
        """
        if self._grid_attempt is not None:
            self._grid_attempt.save_checkpoint(value)

    def ack(self) -> None:
        """With `enable_auto_ack=False`: say that the attempt's outcome stands. The same as saying nothing."""
        if self._grid_attempt is not None:
            self._grid_attempt.acknowledge()

    def reject(self, requeue: bool = False) -> None:
        """With `enable_auto_ack=False`: hand the attempt back at no cost (`requeue`), or fail the task now."""
        if self._grid_attempt is not None:
            self._grid_attempt.reject(requeue=requeue)
