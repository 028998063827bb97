"""The table in memory. What a write does to a task is said by the domain; here is only when it applies."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from grid_async_task.domain.failure import Failure
from grid_async_task.domain.message import TaskMessage
from grid_async_task.domain.outcome import Outcome, Succeeded
from grid_async_task.domain.progress import Progress
from grid_async_task.domain.task import CallbackStatus, Task, TaskStatus
from grid_async_task.ports import Backlog, CallbackMark, Clock, Pruned, Reading, Renewal, TaskFilter, TaskRepository

#: seconds until a swept row may be swept again; doubles each time up to the second number
SWEEP_PAUSE_S, MAX_SWEEP_PAUSE_S = 300.0, 6 * 3600.0
#: seconds after its time until the message of a delayed task may be lost
DELAYED_SWEEP_S = 900.0


class MemoryTaskRepository(TaskRepository):
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._rows: dict[str, Task] = {}
        self._sweep_after: dict[str, datetime] = {}
        self._last_sweeps: dict[str, datetime] = {}

    def prepare(self) -> None:
        return None

    # -- a worker and its task ----------------------------------------------------------------

    def insert_claimed(
        self, message: TaskMessage, *, queue: str, owner: str, lease_s: float, max_retry_count: int
    ) -> Task | None:
        with self._lock:
            if message.task_id in self._rows:
                return None
            task = Task.pending(message, queue, self._now())
            return self._keep(task.claimed(owner, self._now(), lease_s, max_retry_count, crashed=False))

    @property
    def can_group(self) -> bool:
        return True

    def insert_claimed_together(
        self, messages: Sequence[TaskMessage], *, queue: str, owner: str, lease_s: float, max_retry_count: int
    ) -> list[Task] | None:
        with self._lock:
            if any(message.task_id in self._rows for message in messages):
                return None
            tasks = [Task.pending(message, queue, self._now()) for message in messages]
            return [
                self._keep(task.claimed(owner, self._now(), lease_s, max_retry_count, grouped=True)) for task in tasks
            ]

    def read(self, task_id: str) -> Reading | None:
        with self._lock:
            task = self._rows.get(task_id)
            return None if task is None else Reading(task, self._now())

    def claim(self, seen: Task, *, owner: str, lease_s: float, max_retry_count: int, crashed: bool) -> Task | None:
        def is_free(row: Task) -> bool:
            if row.cancel_requested:
                return False
            if row.status is TaskStatus.RUNNING:
                return row.wake_at == seen.wake_at and self._is_past(row.wake_at)
            return row.status is TaskStatus.PENDING or (
                row.status is TaskStatus.RETRYING and self._is_past(row.wake_at)
            )

        def claimed(row: Task) -> Task:
            mine = replace(row, queue=seen.queue)
            return mine.claimed(owner, self._now(), lease_s, max_retry_count, crashed=crashed)

        return self._swap(seen, is_free, claimed)

    def renew(self, claim: Task, *, lease_s: float, progress: Progress | None, cancel_known: bool) -> Renewal:
        task = self._swap_fenced(claim, lambda row: row.renewed(self._now(), lease_s, progress))
        if task is None:
            return Renewal.LOST
        return Renewal.CANCEL_REQUESTED if task.cancel_requested and not cancel_known else Renewal.HELD

    def settle(self, claim: Task, outcome: Outcome, progress: Progress | None) -> bool:
        return self._swap_fenced(claim, lambda row: row.settled(outcome, self._now(), progress)) is not None

    def claim_together(
        self, seen: Sequence[Task], *, owner: str, lease_s: float, max_retry_count: int
    ) -> list[Task] | None:
        def claim(task: Task) -> Task | None:
            return self._swap(
                task,
                lambda row: row.status is TaskStatus.PENDING and not row.cancel_requested,
                lambda row: replace(row, queue=task.queue).claimed(
                    owner, self._now(), lease_s, max_retry_count, grouped=True
                ),
            )

        with self._lock:
            claimed = [task for each in seen if (task := claim(each)) is not None]
        return claimed if len(claimed) == len(seen) else None

    def succeed_together(self, claims: Sequence[Task], results: Sequence[dict[str, Any]]) -> bool:
        def write(claim: Task, result: dict[str, Any]) -> bool:
            return self._swap_fenced(claim, lambda row: row.settled(Succeeded(result), self._now(), None)) is not None

        with self._lock:
            written = [write(claim, result) for claim, result in zip(claims, results, strict=True)]
        return all(written)

    def save_checkpoint(self, claim: Task, value_json: str) -> bool:
        value = json.loads(value_json)
        return self._swap_fenced(claim, lambda row: replace(row, checkpoint=value)) is not None

    # -- other writers ------------------------------------------------------------------------

    def fail_unrun(self, seen: Task, failure: Failure) -> bool:
        def is_free(row: Task) -> bool:
            if row.status is TaskStatus.RUNNING:
                return row.wake_at == seen.wake_at and self._is_past(row.wake_at)
            return row.status.is_waiting

        return self._swap(seen, is_free, lambda row: row.failed_unrun(failure, self._now())) is not None

    def request_cancel(self, seen: Task) -> bool:
        def is_running(row: Task) -> bool:
            return row.status is TaskStatus.RUNNING

        return self._swap(seen, is_running, lambda row: replace(row, cancel_requested=True)) is not None

    def retry_failed(self, seen: Task) -> bool:
        def owes_nothing(row: Task) -> bool:
            return row.status is TaskStatus.FAILED and row.wake_at is None

        return self._swap(seen, owes_nothing, lambda row: row.retried_by_operator(self._now())) is not None

    def clear_owed(self, task_id: str, attempt: int) -> bool:
        with self._lock:
            row = self._rows.get(task_id)
            if row is None or row.attempt != attempt or row.status is not TaskStatus.PENDING:
                return False
            self._keep(replace(row, wake_at=None))
            return True

    def mark_delayed(self, seen: Task) -> bool:
        with self._lock:
            row = self._rows.get(seen.id)
            if seen.wake_at is None or row is None or row.status is not TaskStatus.PENDING:
                return False
            if (row.attempt, row.wake_at) != (seen.attempt, seen.wake_at):
                return False
            self._sweep_after[row.id] = seen.wake_at + timedelta(seconds=DELAYED_SWEEP_S)
            return True

    def record_pending(self, messages: Sequence[TaskMessage], queues: Sequence[str]) -> None:
        with self._lock:
            for message, queue in zip(messages, queues, strict=True):
                if message.task_id not in self._rows:
                    self._keep(Task.pending(message, queue, self._now()))

    def record_delayed(self, message: TaskMessage, queue: str, delay_s: float) -> None:
        with self._lock:
            if message.task_id not in self._rows:
                due = self._now() + timedelta(seconds=delay_s)
                self._keep(Task.pending(message, queue, self._now(), due))
                self._sweep_after[message.task_id] = due + timedelta(seconds=DELAYED_SWEEP_S)

    def record_invalid(self, message: TaskMessage, *, queue: str, failure: Failure) -> bool:
        with self._lock:
            if message.task_id in self._rows:
                return False
            task = Task.pending(message, queue, self._now()).failed_unrun(failure, self._now())
            self._keep(replace(task, attempt=0))
            return True

    def forget_invalid(self, seen: Task) -> bool:
        with self._lock:
            row = self._rows.get(seen.id)
            if row is None or (row.status, row.attempt, row.wake_at) != (TaskStatus.FAILED, 0, None):
                return False
            del self._rows[seen.id]
            return True

    # -- callbacks ----------------------------------------------------------------------------

    def take_callback(self, seen: Task, *, hold_s: float) -> Task | None:
        def is_due(row: Task) -> bool:
            return (
                row.status.is_final
                and row.callback_attempts == seen.callback_attempts
                and row.wake_at is not None
                and self._is_past(row.wake_at)
            )

        def taken(row: Task) -> Task:
            self._sweep_after.pop(row.id, None)
            return replace(
                row,
                wake_at=self._now() + timedelta(seconds=hold_s),
                callback_attempts=row.callback_attempts + 1,
                sweep_count=0,
                updated_at=self._now(),
            )

        return self._swap(seen, is_due, taken)

    def mark_callback(self, taken: Task, mark: CallbackMark) -> bool:
        def is_still_mine(row: Task) -> bool:
            return row.callback_attempts == taken.callback_attempts and row.callback_status is CallbackStatus.DUE

        def marked(row: Task) -> Task:
            if mark.retry_in_s is not None:
                status, wake_at = CallbackStatus.DUE, self._now() + timedelta(seconds=mark.retry_in_s)
            else:
                status, wake_at = CallbackStatus.SENT if mark.sent else CallbackStatus.EXHAUSTED, None
            return replace(
                row,
                callback_status=status,
                wake_at=wake_at,
                callback_attempts=row.callback_attempts - (not mark.counts),
                callback_failures=row.callback_failures + mark.failed,
                updated_at=self._now(),
            )

        return self._swap(taken, is_still_mine, marked) is not None

    def redeliver_callback(self, seen: Task) -> bool:
        def is_over(row: Task) -> bool:
            return (
                row.status.is_final
                and row.callback_attempts == seen.callback_attempts
                and row.callback_status is seen.callback_status
                and row.callback_status in (CallbackStatus.SENT, CallbackStatus.EXHAUSTED)
            )

        def due(row: Task) -> Task:
            self._sweep_after.pop(row.id, None)
            return replace(
                row,
                callback_status=CallbackStatus.DUE,
                callback_attempts=0,
                callback_failures=0,
                wake_at=self._now(),
                sweep_count=0,
                updated_at=self._now(),
            )

        return self._swap(seen, is_over, due) is not None

    # -- the sweep ----------------------------------------------------------------------------

    def win_sweep(self, queue: str, every_s: float) -> bool:
        with self._lock:
            last = self._last_sweeps.get(queue)
            if last is not None and self._now() - last < timedelta(seconds=every_s):
                return False
            self._last_sweeps[queue] = self._now()
            return True

    def overdue(self, queue: str, *, lost_after_s: float, limit: int) -> list[Task]:
        with self._lock:
            now = self._now()

            def is_overdue(row: Task) -> bool:
                if row.queue != queue or row.wake_at is None or self._sweep_after.get(row.id, now) > now:
                    return False
                can_wait = row.status in (TaskStatus.RUNNING, TaskStatus.RETRYING)
                return row.wake_at + timedelta(seconds=lost_after_s if can_wait else 0) <= now

            rows = [row for row in self._rows.values() if is_overdue(row)]
            return sorted(rows, key=lambda row: (row.wake_at or now, row.id))[:limit]

    def mark_swept(self, task: Task) -> bool:
        with self._lock:
            row = self._rows.get(task.id)
            if row is None or (row.attempt, row.status, row.sweep_count) != (
                task.attempt,
                task.status,
                task.sweep_count,
            ):
                return False
            pause_s = min(SWEEP_PAUSE_S * 2.0 ** min(row.sweep_count, 20), MAX_SWEEP_PAUSE_S)
            self._rows[row.id] = replace(row, sweep_count=row.sweep_count + 1)
            self._sweep_after[row.id] = self._now() + timedelta(seconds=pause_s)
            return True

    # -- questions ----------------------------------------------------------------------------

    def list_tasks(self, wanted: TaskFilter, limit: int) -> list[Task]:
        with self._lock:
            rows = self._matching(wanted)
            return sorted(rows, key=lambda row: (_created(row), row.id), reverse=True)[:limit]

    def _matching(self, wanted: TaskFilter) -> list[Task]:
        now = self._now()

        def matches(row: Task) -> bool:
            created = _created(row)
            return (
                (not wanted.statuses or row.status in wanted.statuses)
                and (wanted.task_type is None or row.task_type == wanted.task_type)
                and (wanted.queue is None or row.queue == wanted.queue)
                and (wanted.callback_status is None or row.callback_status is wanted.callback_status)
                and (wanted.before is None or _is_before(row, wanted.before, wanted.before_id))
                and (wanted.id_prefix is None or row.id.startswith(wanted.id_prefix))
                and (wanted.older_than_s is None or created < now - timedelta(seconds=wanted.older_than_s))
                and (wanted.newer_than_s is None or created >= now - timedelta(seconds=wanted.newer_than_s))
            )

        return [row for row in self._rows.values() if matches(row)]

    def count_by_status(self) -> dict[TaskStatus, int]:
        with self._lock:
            counts: dict[TaskStatus, int] = {}
            for row in self._rows.values():
                counts[row.status] = counts.get(row.status, 0) + 1
            return counts

    def backlog(self, queue: str) -> Backlog:
        with self._lock:
            now = self._now()
            rows = [row for row in self._rows.values() if row.queue == queue]
            counts = Counter(row.status for row in rows if not row.status.is_final)
            since = [row.wake_at or row.updated_at or now for row in rows if row.status is TaskStatus.PENDING]
            waiting = [moment for moment in since if moment <= now]
            due = [row.completed_at or now for row in rows if row.callback_status is CallbackStatus.DUE]
            return Backlog(dict(counts), _age(waiting, now), len(due), _age(due, now))

    def prune(
        self,
        older_than_s: float,
        limit: int,
        status: TaskStatus | None = None,
        created_from: datetime | None = None,
    ) -> Pruned:
        with self._lock:
            old = self._prunable(older_than_s, status)
            found = [row for row in old if created_from is None or _created(row) >= created_from][:limit]
            for row in found:
                del self._rows[row.id]
            return Pruned(len(found), _created(found[-1]) if found else None)

    def count_prunable(self, older_than_s: float, status: TaskStatus | None = None) -> int:
        with self._lock:
            return len(self._prunable(older_than_s, status))

    def _prunable(self, older_than_s: float, status: TaskStatus | None) -> list[Task]:
        """The first created first, as the rows are."""
        before = self._now() - timedelta(seconds=older_than_s)
        return [
            row
            for row in self._rows.values()
            if row.status.is_final
            and (status is None or row.status is status)
            and row.wake_at is None
            and row.completed_at
            and row.completed_at < before
        ]

    def close(self) -> None:
        return None

    # -- compare and swap ---------------------------------------------------------------------

    def _swap(self, seen: Task, applies: Callable[[Task], bool], change: Callable[[Task], Task]) -> Task | None:
        with self._lock:
            row = self._rows.get(seen.id)
            if row is None or row.attempt != seen.attempt or row.status is not seen.status or not applies(row):
                return None
            return self._keep(change(row))

    def _swap_fenced(self, claim: Task, change: Callable[[Task], Task]) -> Task | None:
        def is_mine(row: Task) -> bool:
            return row.status is TaskStatus.RUNNING and row.owner == claim.owner

        return self._swap(claim, is_mine, change)

    def _keep(self, task: Task) -> Task:
        before = self._rows.get(task.id)
        if before is None or before.attempt != task.attempt or before.status is not task.status:
            task = replace(task, sweep_count=0)
            self._sweep_after.pop(task.id, None)
        self._rows[task.id] = task
        return task

    def _now(self) -> datetime:
        return self._clock.now()

    def _is_past(self, moment: datetime | None) -> bool:
        return moment is None or moment <= self._now()


def _created(row: Task) -> datetime:
    """Whatever made the row has set it."""
    assert row.created_at is not None
    return row.created_at


def _is_before(row: Task, moment: datetime, task_id: str | None) -> bool:
    created = _created(row)
    return created < moment or (task_id is not None and created == moment and row.id < task_id)


def _age(moments: list[datetime], now: datetime) -> float:
    return (now - min(moments)).total_seconds() if moments else 0.0
