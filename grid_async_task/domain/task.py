"""A task, its five states, and what may happen to it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from grid_async_task.domain.errors import IllegalTransition
from grid_async_task.domain.failure import Failure
from grid_async_task.domain.message import CallbackRequest, TaskMessage, Ticket
from grid_async_task.domain.outcome import Crashed, Failed, HandedBack, Outcome, RetryLater, Snoozed, Succeeded
from grid_async_task.domain.progress import Progress
from grid_async_task.domain.wire_time import to_wire


class TaskStatus(str, Enum):
    """The states of SPEC section 3; no other exists in the table or on the wire."""

    #: recorded, not yet run; or handed back by a worker that had to stop
    PENDING = "pending"
    #: a worker holds the lease
    RUNNING = "running"
    #: final: the handler returned
    SUCCESS = "success"
    #: final: it failed for good, was cancelled, or was no valid task
    FAILED = "failed"
    #: a failed attempt with retries left, or a snooze, waits for its time
    RETRYING = "retrying"

    @property
    def is_final(self) -> bool:
        return self in (TaskStatus.SUCCESS, TaskStatus.FAILED)

    @property
    def is_waiting(self) -> bool:
        return self in (TaskStatus.PENDING, TaskStatus.RETRYING)


#: what may follow what; `running` after `running` is a lease taken over, `pending` after `failed` an operator's retry
TRANSITIONS: dict[TaskStatus, frozenset[TaskStatus]] = {
    TaskStatus.PENDING: frozenset({TaskStatus.RUNNING, TaskStatus.FAILED}),
    TaskStatus.RUNNING: frozenset(TaskStatus),
    TaskStatus.RETRYING: frozenset({TaskStatus.RUNNING, TaskStatus.FAILED}),
    TaskStatus.FAILED: frozenset({TaskStatus.PENDING}),
    TaskStatus.SUCCESS: frozenset(),
}


class CallbackStatus(str, Enum):
    """What became of the callback that a task asked for."""

    #: owed: not yet delivered, `wake_at` says when to try
    DUE = "due"
    SENT = "sent"
    #: every try failed; an operator may have it sent again
    EXHAUSTED = "exhausted"


#: what is republished is no larger than this
LARGE_BODY_BYTES = 64 * 1024


def status_after(outcome: Outcome) -> TaskStatus:
    """The state that a running task is in once this outcome is written."""
    match outcome:
        case Succeeded():
            return TaskStatus.SUCCESS
        case Failed():
            return TaskStatus.FAILED
        case RetryLater() | Snoozed():
            return TaskStatus.RETRYING
        case HandedBack() | Crashed():
            return TaskStatus.PENDING


@dataclass(frozen=True)
class Task:
    """One row of the table: everything that is known of a task. Times are UTC, by the database's clock."""

    #: chosen by the producer, unique in the table, compared byte for byte
    id: str
    #: the work queue whose workers may touch this row
    queue: str
    status: TaskStatus
    task_type: str = "default"
    #: the handler's input
    data: dict[str, Any] = field(default_factory=dict)
    #: fields of the message that we do not know, kept for the handler
    extra: dict[str, Any] = field(default_factory=dict)
    #: retries after the first attempt; None until a worker with a default of its own has claimed the task
    max_retry_count: int | None = None
    callback: CallbackRequest = CallbackRequest()
    #: the number of the newest attempt, 0 before the first: the fencing token
    attempt: int = 0
    #: the token of the process that runs the task; None while nobody does
    owner: str | None = None
    #: when somebody has to look again; what for, `status` says. None: nobody has to
    wake_at: datetime | None = None
    #: retries used up so far
    retry_count: int = 0
    #: workers that were lost while they ran this task
    crash_count: int = 0
    #: claimed together with others: a worker that is lost meanwhile says nothing about this one of its tasks
    grouped: bool = False
    cancel_requested: bool = False
    progress: Progress = Progress(0)
    #: what the handler saved last, on whichever worker
    checkpoint: Any = None
    #: what the handler returned, as the callback carries it
    result: dict[str, Any] | None = None
    failure: Failure | None = None
    callback_status: CallbackStatus | None = None
    #: how often the callback was taken for sending
    callback_attempts: int = 0
    #: how many of those sends failed; a worker that died in between has not sent anything
    callback_failures: int = 0
    #: how often the sweep has published a ticket for this row as it stands
    sweep_count: int = 0
    created_at: datetime | None = None
    updated_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None

    # -- what may happen to it; each gives the task as it is afterwards ---------------------------

    @classmethod
    def pending(cls, message: TaskMessage, queue: str, now: datetime, wake_at: datetime | None = None) -> Task:
        """As a producer records it. `wake_at` for one that is not to begin before, or whose message is owed."""
        return cls(
            id=message.task_id,
            queue=queue,
            status=TaskStatus.PENDING,
            task_type=message.task_type,
            data=message.data,
            extra=message.extra,
            max_retry_count=message.max_retry_count,
            callback=message.callback,
            wake_at=wake_at,
            created_at=now,
            updated_at=now,
        )

    def claimed(
        self,
        owner: str,
        now: datetime,
        lease_s: float,
        max_retry_count: int,
        *,
        crashed: bool = False,
        grouped: bool = False,
    ) -> Task:
        """A worker takes it. `crashed` says that the worker before was lost while it ran just this task."""
        return self._become(
            TaskStatus.RUNNING,
            now,
            attempt=self.attempt + 1,
            owner=owner,
            wake_at=now + timedelta(seconds=lease_s),
            crash_count=self.crash_count + crashed,
            max_retry_count=max_retry_count if self.max_retry_count is None else self.max_retry_count,
            grouped=grouped,
            started_at=now,
        )

    def renewed(self, now: datetime, lease_s: float, progress: Progress | None) -> Task:
        """The lease runs on."""
        return replace(
            self,
            wake_at=now + timedelta(seconds=lease_s),
            progress=progress or self.progress,
            updated_at=now,
        )

    def settled(self, outcome: Outcome, now: datetime, progress: Progress | None) -> Task:
        """The attempt has ended, and this is how."""
        newest = progress or self.progress
        free: dict[str, Any] = {"owner": None, "progress": newest}
        match outcome:
            case Succeeded(result):
                free["progress"] = Progress(100, newest.message)
                return self._final(TaskStatus.SUCCESS, now, result=result, **free)
            case Failed(failure):
                return self._final(TaskStatus.FAILED, now, failure=failure, **free)
            case RetryLater(failure, delay_s):
                return self._become(
                    TaskStatus.RETRYING,
                    now,
                    failure=failure,
                    wake_at=now + timedelta(seconds=delay_s),
                    retry_count=self.retry_count + 1,
                    **free,
                )
            case Snoozed(delay_s):
                return self._become(TaskStatus.RETRYING, now, wake_at=now + timedelta(seconds=delay_s), **free)
            case HandedBack():
                return self._become(TaskStatus.PENDING, now, wake_at=None, **free)
            case Crashed(failure):
                crashes = self.crash_count + 1
                return self._become(TaskStatus.PENDING, now, failure=failure, wake_at=None, crash_count=crashes, **free)

    def failed_unrun(self, failure: Failure, now: datetime) -> Task:
        """It fails without being run (again): cancelled while it waited, or too many workers were lost."""
        return self._final(TaskStatus.FAILED, now, failure=failure, attempt=self.attempt + 1, owner=None)

    def retried_by_operator(self, now: datetime) -> Task:
        """Out of `failed`, the one way there is: counts start anew, the checkpoint stays."""
        if self.status is not TaskStatus.FAILED:
            raise IllegalTransition(self.id, self.status.value, TaskStatus.PENDING.value)
        return self._become(
            TaskStatus.PENDING,
            now,
            attempt=self.attempt + 1,
            wake_at=now,
            retry_count=0,
            crash_count=0,
            cancel_requested=False,
            progress=Progress(0),
            failure=None,
            callback_status=None,
            callback_attempts=0,
            callback_failures=0,
            started_at=None,
            completed_at=None,
        )

    def _final(self, status: TaskStatus, now: datetime, **changes: Any) -> Task:
        owed = self.callback.is_asked
        return self._become(
            status,
            now,
            **{"failure": None, **changes},
            completed_at=now,
            wake_at=now if owed else None,
            callback_status=CallbackStatus.DUE if owed else None,
            callback_attempts=0,
        )

    def _become(self, status: TaskStatus, now: datetime, **changes: Any) -> Task:
        if status not in TRANSITIONS[self.status]:
            raise IllegalTransition(self.id, self.status.value, status.value)
        return replace(self, status=status, updated_at=now, **changes)

    # -- how it is shown --------------------------------------------------------------------------

    def to_message(self) -> TaskMessage:
        """The message that asks for this task, equal in meaning to the first one."""
        return TaskMessage(self.id, self.task_type, self.data, self.max_retry_count, self.callback, self.extra)

    def to_ticket_body(self) -> bytes:
        """A body that brings this row to a worker: the message as it was, or, where that is large, the id alone.

        JSON that went through a database may have grown (`1e15`), up to beyond the limit for messages.
        """
        body = self.to_message().to_body()
        return body if len(body) <= LARGE_BODY_BYTES else Ticket(self.id).to_body()

    def progress_to_wire(self) -> dict[str, Any]:
        """The answer to "how far is it?" (SPEC section 6)."""
        return {
            "task_id": self.id,
            "progress": self.progress.percent,
            "progress_message": self.progress.message,
            "status": self.status.value,
            "updated_at": None if self.updated_at is None else to_wire(self.updated_at),
        }

    def to_dict(self) -> dict[str, Any]:
        """The row for people and programs: plain JSON values, times as on the wire."""
        times = ("created_at", "updated_at", "started_at", "completed_at", "wake_at")
        return {
            "task_id": self.id,
            "task_type": self.task_type,
            "status": self.status.value,
            "queue": self.queue,
            "data": self.data,
            "result": self.result,
            "error_message": self.failure.message if self.failure else None,
            "error_type": self.failure.error_type if self.failure else None,
            "progress": self.progress.percent,
            "progress_message": self.progress.message,
            "retry_count": self.retry_count,
            "max_retry_count": self.max_retry_count or 0,
            "attempt": self.attempt,
            "crash_count": self.crash_count,
            "cancel_requested": self.cancel_requested,
            "callback_url": self.callback.url,
            "callback_type": self.callback.type,
            "callback_data": self.callback.data,
            "callback_status": self.callback_status.value if self.callback_status else None,
            "callback_attempts": self.callback_attempts,
            **{name: to_wire(moment) if (moment := getattr(self, name)) else None for name in times},
        }
