"""Having the handler run, and turning what happened into an outcome."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from grid_async_task.application.heartbeat import Heartbeat
from grid_async_task.application.lifecycle import Lifecycle
from grid_async_task.application.pace import Pace
from grid_async_task.application.patience import Patience
from grid_async_task.application.running_attempt import RunningAttempt
from grid_async_task.domain.errors import Discard
from grid_async_task.domain.failure import CANCELLED, Failure
from grid_async_task.domain.outcome import (
    Failed,
    HandedBack,
    Outcome,
    Snoozed,
    Succeeded,
    after_crash,
    after_failure,
)
from grid_async_task.domain.progress import Progress
from grid_async_task.domain.retry import Randomness, RetryPolicy
from grid_async_task.domain.task import Task
from grid_async_task.ports import (
    NO_OBSERVER,
    AskedToSnooze,
    Clock,
    Died,
    Ending,
    HandlerRunner,
    Interrupted,
    Observer,
    Raised,
    Returned,
    TaskRepository,
)


@dataclass(frozen=True)
class Ended:
    """An attempt that is over. Nothing of it is committed yet."""

    attempt: RunningAttempt
    outcome: Outcome

    @property
    def progress(self) -> Progress | None:
        return self.attempt.newest_progress


class Attempts:
    """Runs one attempt at a time, its lease kept beside it."""

    def __init__(
        self,
        runner: HandlerRunner,
        repository: TaskRepository,
        heartbeat: Heartbeat,
        database: Patience,
        lifecycle: Lifecycle,
        randomness: Randomness,
        clock: Clock,
        pace: Pace,
        *,
        retry_policy: RetryPolicy,
        max_crash_count: int,
        enable_auto_ack: bool,
        on_lost: Callable[[RunningAttempt], None],
        observer: Observer = NO_OBSERVER,
    ) -> None:
        self._runner = runner
        self._repository = repository
        self._heartbeat = heartbeat
        self._database = database
        self._lifecycle = lifecycle
        self._randomness = randomness
        self._clock = clock
        self._pace = pace
        self._retry_policy = retry_policy
        self._max_crash_count = max_crash_count
        self._enable_auto_ack = enable_auto_ack
        self._on_lost = on_lost
        self._observer = observer
        #: the attempt whose handler runs now
        self.current: RunningAttempt | None = None

    def in_this_thread(self) -> AbstractContextManager[None]:
        """Around all attempts. Raises `ConfigurationError` where the handler can't be run in this thread."""
        return self._runner.in_this_thread()

    def run(self, task: Task) -> Ended:
        """Run the handler on a task that was claimed. Whatever it does becomes an outcome."""
        attempt = RunningAttempt(
            task,
            self._runner.start(),
            save=self._save_checkpoint,
            on_first_report=self._heartbeat.first_report,
            on_lost=self._on_lost,
            may_reject=not self._enable_auto_ack,
        )
        self._heartbeat.start(attempt)
        self.current = attempt
        try:
            if self._lifecycle.stopping.is_set():
                return Ended(attempt, HandedBack())
            began = self._clock.monotonic()
            ending = attempt.run.run(attempt)
            seconds = self._clock.monotonic() - began
            self._pace.took(seconds)
            self._observer.handler_ran(task, seconds)
            return Ended(attempt, self._outcome(attempt, ending))
        finally:
            attempt.ended.set()
            self.current = None
            self._heartbeat.stop()

    def announce(self, ended: Ended) -> None:
        """The success is committed: tell the handler."""
        if isinstance(ended.outcome, Succeeded):
            self._runner.complete()

    def forget(self) -> None:
        """No task is running any more."""
        self._runner.forget()

    # -- from what happened to an outcome -----------------------------------------------------

    def _outcome(self, attempt: RunningAttempt, ending: Ending) -> Outcome:
        match ending:
            case Interrupted():
                return HandedBack()
            case AskedToSnooze(delay_s):
                return Snoozed(delay_s)
            case Died(failure):
                return self._after_death(attempt, failure)
            case Returned() | Raised() if attempt.rejected is not None:
                return _rejected(attempt)
            case Returned(result):
                return Failed(CANCELLED) if attempt.saw_cancel else Succeeded(result)
            case Raised() if attempt.cancel_requested:
                return Failed(CANCELLED)
            case Raised(failure, own_delay_s):
                return after_failure(
                    failure,
                    retries_used=attempt.task.retry_count,
                    retries_allowed=attempt.task.max_retry_count or 0,
                    policy=self._retry_policy,
                    randomness=self._randomness,
                    own_delay_s=own_delay_s,
                )

    def _after_death(self, attempt: RunningAttempt, failure: Failure) -> Outcome:
        if attempt.cancel_requested:
            return Failed(CANCELLED)
        return after_crash(failure, crashes_before=attempt.task.crash_count, crashes_allowed=self._max_crash_count)

    def _save_checkpoint(self, attempt: RunningAttempt, value_json: str) -> bool:
        def write() -> bool:
            # a statement that an interrupt tears apart leaves its connection in the middle of a packet
            with attempt.run.shield():
                return self._repository.save_checkpoint(attempt.task, value_json)

        return self._database.until_answered(write, until=self._lifecycle.leaving)


def _rejected(attempt: RunningAttempt) -> Outcome:
    if attempt.rejected:
        return HandedBack()
    return Failed(Failure(Discard.__name__, "the handler rejected the task", retryable=False))
