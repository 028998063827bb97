"""Getting hold of a task, and letting go of it: the two commits that a task costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

import structlog

from grid_async_task.application.due_time import seconds_early
from grid_async_task.application.lifecycle import Lifecycle
from grid_async_task.application.patience import Patience
from grid_async_task.application.takeover import Takeover
from grid_async_task.domain.failure import CANCELLED, Failure, worker_lost
from grid_async_task.domain.message import TaskMessage, Ticket
from grid_async_task.domain.outcome import Failed, Outcome
from grid_async_task.domain.progress import Progress
from grid_async_task.domain.task import Task, status_after
from grid_async_task.domain.verdict import (
    CallbackDue,
    Claimable,
    Elsewhere,
    Expired,
    Finished,
    Mine,
    NotYet,
    Unrun,
    judge,
)
from grid_async_task.ports import (
    NO_OBSERVER,
    Clock,
    DataRefused,
    Delivery,
    Observer,
    Renewal,
    TaskRepository,
)

T = TypeVar("T")

#: a claim that took longer than this share of the lease is renewed before the handler starts
LATE_SHARE_OF_LEASE = 1 / 6

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Claimed:
    """The task is ours: run it, on the row's content."""

    task: Task


ClaimAnswer: TypeAlias = Claimed | NotYet | CallbackDue | Finished | Elsewhere


class Claims:
    """Claims tasks of one queue for one worker process."""

    def __init__(
        self,
        repository: TaskRepository,
        takeover: Takeover,
        database: Patience,
        lifecycle: Lifecycle,
        clock: Clock,
        *,
        owner: str,
        queue: str,
        lease_s: float,
        max_retry_count: int,
        max_crash_count: int,
        give_back_fetched: Callable[[], None],
        on_failed: Callable[[Task, Failure], None],
        observer: Observer = NO_OBSERVER,
    ) -> None:
        self._repository = repository
        self._takeover = takeover
        self._database = database
        self._lifecycle = lifecycle
        self._clock = clock
        self._owner = owner
        self._queue = queue
        self._lease_s = lease_s
        self._max_retry_count = max_retry_count
        self._max_crash_count = max_crash_count
        #: messages fetched behind this one must not wait with it
        self._give_back_fetched = give_back_fetched
        self._on_failed = on_failed
        self._observer = observer

    def seconds_early(self, delivery: Delivery, task_id: str) -> float:
        """How long the message has to wait still, by what stands on it and this machine's clock.

        0 where there is a row: that goes by the database's clock, and the header by whoever's sent the message.
        """
        early_s = seconds_early(delivery.headers, self._clock.now())
        if early_s and self._ask(lambda: self._repository.read(task_id)) is not None:
            return 0.0
        return early_s

    def claim(self, message: TaskMessage | Ticket) -> ClaimAnswer:
        """What this message's task needs. A claim once sent is pursued until its fate is known.

        Raises `DataRefused` where the database can't hold the task and no row of it exists.
        """
        began = self._clock.monotonic()
        answer: ClaimAnswer | None = self._insert(message) if isinstance(message, TaskMessage) else None
        while answer is None:
            answer = self.look(message, began)
        return answer

    def look(self, message: TaskMessage | Ticket, began: float | None = None) -> ClaimAnswer | None:
        """Go by the row, which may exist or not. None: it changed under our hands, look again."""
        began = self._clock.monotonic() if began is None else began
        reading = self._ask(lambda: self._repository.read(message.task_id))
        if reading is None:
            return self._insert(message) if isinstance(message, TaskMessage) else Finished()
        if isinstance(message, TaskMessage):
            warn_if_different(message, reading.task)
        match judge(reading.task, reading.now, me=self._owner, queue=self._queue):
            case Claimable(task):
                return self._take(task, began, crashed=False)
            case Expired(task):
                return self._take_over(task)
            case Mine(task):
                log.info("claim found committed after all", task_id=task.id, attempt=task.attempt)
                return self.renewed(task)
            case Unrun(task, failure):
                self._fail_unrun(task, failure)
                return None
            case answer:
                return answer

    def look_at_callback(self, task_id: str) -> CallbackDue | NotYet | Finished:
        """What is owed for a task that is final; of any other its own ticket takes care."""
        reading = self._ask(lambda: self._repository.read(task_id))
        if reading is not None and reading.task.status.is_final:
            answer = judge(reading.task, reading.now, me=self._owner, queue=self._queue)
            if isinstance(answer, CallbackDue | NotYet):
                return answer
        return Finished()

    def settle(self, task: Task, outcome: Outcome, progress: Progress | None) -> Outcome | None:
        """Commit how the attempt ended: the outcome as it was written, None where the claim was lost."""
        try:
            if self._ask(lambda: self._repository.settle(task, outcome, progress)):
                return outcome
        except DataRefused as refusal:
            log.error("the database refused the outcome", task_id=task.id, attempt=task.attempt, error=str(refusal))
            text = f"the database refused the outcome of the task: {refusal}"
            shorter = Failed(Failure("DataRefused", text.encode("ascii", "replace").decode()[:500], retryable=False))
            return self.settle(task, shorter, None) if not isinstance(outcome, Failed) else self._last_words(task)
        # Refused by the fence: lost, unless an earlier try of this very write was committed and its reply was lost.
        # Whoever else changes the status raises the attempt number.
        reading = self._ask(lambda: self._repository.read(task.id))
        was_ours = reading and reading.task.attempt == task.attempt and reading.task.status is status_after(outcome)
        return outcome if was_ours else None

    # -- the rows of the claim table ----------------------------------------------------------

    def _insert(self, message: TaskMessage) -> Claimed | None:
        began = self._clock.monotonic()
        try:
            task = self._ask(
                lambda: self._repository.insert_claimed(
                    message,
                    queue=self._queue,
                    owner=self._owner,
                    lease_s=self._lease_s,
                    max_retry_count=self._max_retry_count,
                )
            )
        except DataRefused:
            if self._ask(lambda: self._repository.read(message.task_id)) is None:
                raise
            return None  # an earlier message was accepted: the row says what to do
        return None if task is None else self._in_time(task, began)

    def _take(self, seen: Task, began: float, *, crashed: bool) -> Claimed | None:
        seen = replace(seen, queue=self._queue)
        task = self._ask(
            lambda: self._repository.claim(
                seen,
                owner=self._owner,
                lease_s=self._lease_s,
                max_retry_count=self._max_retry_count,
                crashed=crashed,
            )
        )
        return None if task is None else self._in_time(task, began)

    def _take_over(self, seen: Task) -> Claimed | None:
        log.info("watching the lease of a silent worker", task_id=seen.id, attempt=seen.attempt, worker=seen.owner)
        self._give_back_fetched()
        if not self._takeover.is_abandoned(seen):
            return None
        if seen.cancel_requested:
            self._fail_unrun(seen, CANCELLED)
            return None
        if seen.crash_count >= self._max_crash_count and not seen.grouped:
            self._fail_unrun(seen, worker_lost(seen.crash_count + 1))
            return None
        log.warning("taking over the task of a lost worker", task_id=seen.id, worker=seen.owner)
        self._observer.taken_over(seen)
        # one of a group may never have been started: it is run alone now, and then crashes count
        return self._take(seen, self._clock.monotonic(), crashed=not seen.grouped)

    def _fail_unrun(self, seen: Task, failure: Failure) -> None:
        if self._ask(lambda: self._repository.fail_unrun(seen, failure)):
            log.warning("task failed", task_id=seen.id, error_type=failure.error_type, error=failure.message)
            self._observer.settled(seen, Failed(failure))
            self._on_failed(seen, failure)

    def _in_time(self, task: Task, began: float) -> Claimed | None:
        if self._clock.monotonic() - began <= self._lease_s * LATE_SHARE_OF_LEASE:
            return Claimed(task)
        return self.renewed(task)

    def renewed(self, task: Task) -> Claimed | None:
        """Make sure of a claim that may be old; None where it is lost."""
        renewal = self._ask(
            lambda: self._repository.renew(task, lease_s=self._lease_s, progress=None, cancel_known=False)
        )
        return None if renewal is Renewal.LOST else Claimed(task)

    def _last_words(self, task: Task) -> Outcome | None:
        """Even the description of the failure was refused: one that any database can hold."""
        plain = Failed(Failure("DataRefused", "the database refused the description of the failure", retryable=False))
        return plain if self._ask(lambda: self._repository.settle(task, plain, None)) else None

    def _ask(self, ask: Callable[[], T]) -> T:
        return self._database.until_answered(ask, until=self._lifecycle.leaving, meanwhile=self._give_back_fetched)


def warn_if_different(message: TaskMessage, task: Task) -> None:
    kept = task.to_message()
    differing = [
        name for name in ("task_type", "data", "callback", "extra") if getattr(message, name) != getattr(kept, name)
    ]
    if message.max_retry_count not in (None, kept.max_retry_count):
        differing.append("max_retry_count")
    if differing:
        log.warning("a later message of this task differs; the first one counts", task_id=task.id, fields=differing)
