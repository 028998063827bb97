from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from grid_async_task.domain.errors import ConfigurationError
from grid_async_task.domain.failure import Failure
from grid_async_task.domain.message import TaskMessage
from grid_async_task.domain.outcome import Outcome
from grid_async_task.domain.progress import Progress
from grid_async_task.domain.task import CallbackStatus, Task, TaskStatus


@dataclass(frozen=True)
class Reading:
    """A row and the database's time, read in one go."""

    task: Task
    now: datetime


class Renewal(Enum):
    """What a heartbeat learned."""

    HELD = "held"
    #: the lease is renewed, and somebody asked for the task to be cancelled
    CANCEL_REQUESTED = "cancel requested"
    #: the claim is no longer ours; nothing was written
    LOST = "lost"


@dataclass(frozen=True)
class CallbackMark:
    """What became of one try to send a callback."""

    sent: bool = False
    #: seconds until the next try; None where there is none
    retry_in_s: float | None = None
    #: False gives the try back: it was none
    counts: bool = True

    @property
    def failed(self) -> bool:
        """It was a try, and it did not arrive."""
        return self.counts and not self.sent


@dataclass(frozen=True)
class Pruned:
    """What one call of `prune` has done."""

    #: rows deleted
    count: int
    #: when the last row that was found was created, UTC; None where none was found
    reached: datetime | None


@dataclass(frozen=True)
class TaskFilter:
    """Which tasks are meant; None, and no statuses, do not filter."""

    #: any of these
    statuses: tuple[TaskStatus, ...] = ()
    task_type: str | None = None
    queue: str | None = None
    #: only tasks created before this moment, UTC
    before: datetime | None = None
    #: of those created at that very moment (a batch is), the ones with a smaller id too
    before_id: str | None = None
    callback_status: CallbackStatus | None = None
    #: how the id begins, byte for byte
    id_prefix: str | None = None
    #: seconds since they were created, by the database's clock
    older_than_s: float | None = None
    newer_than_s: float | None = None


@dataclass(frozen=True)
class Backlog:
    """What is not over in one queue. Ages are seconds by the database's clock, 0 where there is nothing to be old."""

    #: how many tasks there are in each state that is not final; states without any may be missing
    tasks: Mapping[TaskStatus, int]
    #: since the `pending` task became ready that has been so for longest: recorded, due, handed back or retried
    oldest_waiting_s: float
    callbacks_due: int
    #: since that task ended whose callback has been due for longest
    oldest_callback_s: float


class TaskRepository(ABC):
    """The table of tasks. The database owns the task; whoever writes says what it believes the row to be.

    Every write is one atomic statement that is conditional on what the writer has seen
    (compare and swap), and its answer says whether it applied. All times are the
    database's own; durations are seconds. A method that raises `RepositoryUnavailable` may
    have been carried out or not. `DataRefused` means that nothing was written.
    May be called from several threads.
    """

    @abstractmethod
    def prepare(self) -> None:
        """Create or migrate the table; safe when many do so at once. Raises `ConfigurationError`."""

    # -- a worker and its task ----------------------------------------------------------------

    @abstractmethod
    def insert_claimed(
        self, message: TaskMessage, *, queue: str, owner: str, lease_s: float, max_retry_count: int
    ) -> Task | None:
        """A task nobody has recorded, claimed in the same breath: `running`, attempt 1. None where a row exists.

        `max_retry_count` is for messages that name none.
        """

    @abstractmethod
    def read(self, task_id: str) -> Reading | None:
        """The row as it is now, its checkpoint included; never from a replica."""

    @abstractmethod
    def claim(self, seen: Task, *, owner: str, lease_s: float, max_retry_count: int, crashed: bool) -> Task | None:
        """Claim a row: `running`, attempt + 1, `crash_count` + 1 if `crashed`. None where the row is not what was seen.

        It is not `grouped` any more.

        Conditional on id, attempt and status; for a `retrying` row also on being due; for a `running`
        one on the lease that was seen having expired; never where a cancel is requested. The row gets the
        queue of `seen`: one that was inserted by hand may have none.
        """

    @abstractmethod
    def renew(self, claim: Task, *, lease_s: float, progress: Progress | None, cancel_known: bool) -> Renewal:
        """Extend the lease and write the newest progress, fenced. With `cancel_known` a cancel is no news."""

    @abstractmethod
    def settle(self, claim: Task, outcome: Outcome, progress: Progress | None) -> bool:
        """Write how the attempt ended, and that a callback is owed, fenced. False: the claim is not ours any more."""

    @abstractmethod
    def save_checkpoint(self, claim: Task, value_json: str) -> bool:
        """Keep the handler's checkpoint (JSON text), fenced."""

    # -- many short tasks at once -------------------------------------------------------------

    @property
    def can_group(self) -> bool:
        """Whether there is a fast way to claim and to end many tasks: the next four methods. It is optional."""
        return False

    def insert_claimed_together(
        self, messages: Sequence[TaskMessage], *, queue: str, owner: str, lease_s: float, max_retry_count: int
    ) -> list[Task] | None:
        """`insert_claimed` for several tasks of different ids in one go, all or none, each marked as `grouped`.

        None where a row of one of them exists.
        """
        raise NotImplementedError

    def read_together(self, task_ids: Sequence[str]) -> list[Reading]:
        """`read` for several ids at once; those without a row are left out."""
        return [reading for task_id in task_ids if (reading := self.read(task_id)) is not None]

    def claim_together(
        self, seen: Sequence[Task], *, owner: str, lease_s: float, max_retry_count: int
    ) -> list[Task] | None:
        """`claim` for several `pending` rows in one go, each marked as `grouped`.

        None where one of them is not what was seen any more: some may be claimed; which, each has to be asked for
        itself.
        """
        raise NotImplementedError

    def succeed_together(self, claims: Sequence[Task], results: Sequence[dict[str, Any]]) -> bool:
        """`settle` several `grouped` claims as succeeded, in one go. None of them owes a callback or has progress.

        True: all are written. False: some of the claims are not ours any more; which, each has to be asked for itself.
        """
        raise NotImplementedError

    # -- other writers ------------------------------------------------------------------------

    @abstractmethod
    def fail_unrun(self, seen: Task, failure: Failure) -> bool:
        """`failed`, attempt + 1, owner cleared, callback owed if asked for. Conditional on id, attempt and status.

        Of a `running` row also on the lease that was seen having expired.
        """

    @abstractmethod
    def request_cancel(self, seen: Task) -> bool:
        """Mark a `running` row so that its worker learns of the cancel. Conditional on id, attempt and status."""

    @abstractmethod
    def retry_failed(self, seen: Task) -> bool:
        """An operator's retry: `failed` to `pending`, attempt + 1, counts anew, `wake_at` now.

        False where the row is not what was seen, or a callback is due.
        """

    @abstractmethod
    def clear_owed(self, task_id: str, attempt: int) -> bool:
        """The message of a `pending` row is on its queue: `wake_at` NULL. Conditional on id, attempt and `pending`."""

    @abstractmethod
    def mark_delayed(self, seen: Task) -> bool:
        """The message of a `pending` row waits in the delay queues: for the sweep it is as after `record_delayed`.

        `wake_at` stays. Conditional on id, attempt, `pending` and the `wake_at` that was seen.
        """

    @abstractmethod
    def record_pending(self, messages: Sequence[TaskMessage], queues: Sequence[str]) -> None:
        """Insert rows for messages that were sent, `queues` beside `messages`; an existing row is left as it is."""

    @abstractmethod
    def record_delayed(self, message: TaskMessage, queue: str, delay_s: float) -> None:
        """The same for one message that waits in the delay queues: `wake_at` in so many seconds.

        The sweep leaves it alone until 15 minutes after that.
        """

    def insert_owed(
        self, message: TaskMessage, queue: str, delay_s: float, within: Any, committing: Callable[[], None]
    ) -> None:
        """Within a transaction of the application's own: a `pending` row whose message is owed from its commit on.

        `wake_at` in so many seconds; from then on the sweep finds the row, unless `mark_delayed` was called.
        An existing row is left as it is. `within` is what the repository takes for a transaction. `committing` is
        called when it is being committed, or just has been; it returns at once and raises nothing. Raises
        `ConfigurationError` where the transaction is not one of the database that has the table.
        """
        raise ConfigurationError(f"{type(self).__name__} takes part in no transaction of an application")

    @abstractmethod
    def record_invalid(self, message: TaskMessage, *, queue: str, failure: Failure) -> bool:
        """A `failed` row, callback owed if asked for, for a message that was no valid task. False: a row exists."""

    @abstractmethod
    def forget_invalid(self, seen: Task) -> bool:
        """Delete what `record_invalid` has made, so that the message may be tried again.

        Conditional on id, `failed`, attempt 0 (it never ran) and its callback not being due.
        """

    # -- callbacks ----------------------------------------------------------------------------

    @abstractmethod
    def take_callback(self, seen: Task, *, hold_s: float) -> Task | None:
        """Take a due callback for sending: `wake_at` + hold, `callback_attempts` + 1. None where another did.

        Conditional on: final, id, attempt, callback_attempts, `wake_at` passed.
        """

    @abstractmethod
    def mark_callback(self, taken: Task, mark: CallbackMark) -> bool:
        """Write what became of a taken callback. Conditional on id, attempt, callback_attempts and its being due."""

    @abstractmethod
    def redeliver_callback(self, seen: Task) -> bool:
        """An operator has a callback sent again: due now, `callback_attempts` and `callback_failures` 0.

        Conditional on: final, id, attempt, callback_attempts, and its being sent or exhausted as it was seen.
        """

    # -- the sweep ----------------------------------------------------------------------------

    @abstractmethod
    def win_sweep(self, queue: str, every_s: float) -> bool:
        """True for one caller per queue and period."""

    @abstractmethod
    def overdue(self, queue: str, *, lost_after_s: float, limit: int) -> list[Task]:
        """Rows of this queue that somebody should have looked at, the longest overdue first.

        Owed messages (`pending`) and callbacks (final) whose `wake_at` has passed; `running` and `retrying`
        rows whose `wake_at` passed `lost_after_s` ago; none whose sweep mark lies in the future.
        """

    @abstractmethod
    def mark_swept(self, task: Task) -> bool:
        """Put the row's next sweep off: 5 minutes, doubling each time, at most 6 h.

        Conditional on id, attempt, status and the sweep mark that was seen. `wake_at` is never touched.
        """

    # -- questions ----------------------------------------------------------------------------

    @abstractmethod
    def list_tasks(self, wanted: TaskFilter, limit: int) -> list[Task]:
        """The newest first."""

    @abstractmethod
    def count_by_status(self) -> dict[TaskStatus, int]:
        """How many tasks there are in each state; states without any may be missing."""

    @abstractmethod
    def backlog(self, queue: str) -> Backlog:
        """What is not over in this queue. May read the whole table."""

    @abstractmethod
    def prune(
        self,
        older_than_s: float,
        limit: int,
        status: TaskStatus | None = None,
        created_from: datetime | None = None,
    ) -> Pruned:
        """Delete up to `limit` final rows that ended so long ago and owe no callback, the first created first.

        `status`: only those that ended so. `created_from`: only those created then or later; whoever prunes in many
        calls hands on what the last one reached, so that the rows which stay are passed over once and not each time.
        """

    @abstractmethod
    def count_prunable(self, older_than_s: float, status: TaskStatus | None = None) -> int:
        """How many rows `prune` would delete in the end."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the connections."""
