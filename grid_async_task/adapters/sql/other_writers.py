"""Those who write a task's row without running it: operators, producers, and workers about tasks they do not run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import cached_property
from typing import Any

from sqlalchemy import Delete, Insert, Update, bindparam, delete, insert, null, update

from grid_async_task.adapters.sql.db_time import db_now, microseconds
from grid_async_task.adapters.sql.rows import message_values, outcome_values
from grid_async_task.adapters.sql.sql_part import SqlPart, new, seen_row, us_until
from grid_async_task.domain.failure import Failure
from grid_async_task.domain.message import TaskMessage
from grid_async_task.domain.task import Task, TaskStatus

#: after its time, until the message of a delayed task may be lost
DELAYED_SWEEP = timedelta(minutes=15)


class OtherWritersPart(SqlPart):
    def fail_unrun(self, seen: Task, failure: Failure) -> bool:
        if seen.status.is_final:
            return False
        now = self._database.clock.now()
        task = seen.failed_unrun(failure, now)
        values = {**outcome_values(task), "status": task.status.value, "attempt": task.attempt}
        return (
            self._database.write(
                self._fail_unrun,
                {
                    **seen_row(seen),
                    "seen_wake_at": seen.wake_at,
                    **new(values),
                    "wake_us": us_until(task.wake_at, now),
                },
            )
            > 0
        )

    @cached_property
    def _fail_unrun(self) -> Update:
        c = self._c
        return (
            update(self._tables.tasks)
            .where(
                self._is_what_was_seen,
                (c.status != TaskStatus.RUNNING.value) | self._lease_seen_has_expired,
            )
            .values(
                {
                    **self._moves_on,
                    **self._new("status", "attempt", "result", "error_type", "error_message", "error_cause"),
                    **self._new("callback_status", "callback_attempts"),
                    c.owner: null(),
                    c.wake_at: db_now("wake_us"),
                    c.completed_at: db_now(),
                }
            )
        )

    def request_cancel(self, seen: Task) -> bool:
        return self._database.write(self._request_cancel, seen_row(seen)) > 0

    @cached_property
    def _request_cancel(self) -> Update:
        return (
            update(self._tables.tasks)
            .where(self._is_what_was_seen, self._c.status == TaskStatus.RUNNING.value)
            .values({self._c.cancel_requested: True, self._c.updated_at: db_now()})
        )

    def retry_failed(self, seen: Task) -> bool:
        if seen.status is not TaskStatus.FAILED:
            return False
        task = seen.retried_by_operator(self._database.clock.now())
        values = {
            **outcome_values(task),
            "status": task.status.value,
            "attempt": task.attempt,
            "retry_count": task.retry_count,
            "crash_count": task.crash_count,
            "cancel_requested": task.cancel_requested,
            "progress": task.progress.percent,
            "progress_message": task.progress.message,
            "callback_failures": task.callback_failures,
        }
        return self._database.write(self._retry_failed, {**seen_row(seen), **new(values)}) > 0

    @cached_property
    def _retry_failed(self) -> Update:
        c = self._c
        return (
            update(self._tables.tasks)
            .where(self._is_what_was_seen, c.wake_at.is_(None))
            .values(
                {
                    **self._moves_on,
                    **self._new("status", "attempt", "retry_count", "crash_count", "cancel_requested"),
                    **self._new("progress", "progress_message"),
                    **self._new("result", "error_type", "error_message", "error_cause"),
                    **self._new("callback_status", "callback_attempts", "callback_failures"),
                    c.wake_at: db_now(),
                    c.started_at: null(),
                    c.completed_at: null(),
                }
            )
        )

    def clear_owed(self, task_id: str, attempt: int) -> bool:
        values = {"seen_id": task_id, "seen_attempt": attempt, "seen_status": TaskStatus.PENDING.value}
        return self._database.write(self._clear_owed, values) > 0

    @cached_property
    def _clear_owed(self) -> Update:
        return update(self._tables.tasks).where(self._is_what_was_seen).values({self._c.wake_at: null()})

    def mark_delayed(self, seen: Task) -> bool:
        if seen.wake_at is None:
            return False
        values = {
            **seen_row(seen),
            "seen_status": TaskStatus.PENDING.value,
            "seen_wake_at": seen.wake_at,
            "new_sweep_after": seen.wake_at + DELAYED_SWEEP,
        }
        return self._database.write(self._mark_delayed, values) > 0

    @cached_property
    def _mark_delayed(self) -> Update:
        return (
            update(self._tables.tasks)
            .where(self._is_what_was_seen, self._c.wake_at == bindparam("seen_wake_at"))
            .values(self._new("sweep_after"))
        )

    def record_pending(self, messages: Sequence[TaskMessage], queues: Sequence[str]) -> None:
        rows = [new(message_values(message, queue)) for message, queue in zip(messages, queues, strict=True)]
        # in the order of their ids: two who record the same tasks then wait for each other, not in a circle
        rows.sort(key=lambda row: str(row["new_id"]))
        if rows:
            self._database.write_many(self._record_pending, rows)

    @cached_property
    def _record_pending(self) -> Insert:
        """Bound values only, the rest by the columns' defaults: PyMySQL then sends many rows as one INSERT."""
        return self._insert_or_nothing(self._new(*message_values(TaskMessage(""), "")))

    def record_delayed(self, message: TaskMessage, queue: str, delay_s: float) -> None:
        due_in = timedelta(seconds=delay_s)
        values = {
            **new(message_values(message, queue)),
            "wake_us": microseconds(due_in),
            "sweep_us": microseconds(due_in + DELAYED_SWEEP),
        }
        self._database.write(self._record_delayed, values)

    @cached_property
    def _record_delayed(self) -> Insert:
        c = self._c
        values = {
            **self._new(*message_values(TaskMessage(""), "")),
            c.wake_at: db_now("wake_us"),
            c.sweep_after: db_now("sweep_us"),
        }
        return self._insert_or_nothing(values)

    def record_invalid(self, message: TaskMessage, *, queue: str, failure: Failure) -> bool:
        now = self._database.clock.now()
        task = Task.pending(message, queue, now).failed_unrun(failure, now)
        values: dict[str, Any] = {
            **message_values(message, queue),
            **outcome_values(task),
            "status": task.status.value,
        }
        return self._database.insert(self._record_invalid, {**new(values), "wake_us": us_until(task.wake_at, now)})

    @cached_property
    def _record_invalid(self) -> Insert:
        c = self._c
        columns = (*message_values(TaskMessage(""), ""), "status")
        outcome = ("error_type", "error_message", "error_cause", "callback_status", "callback_attempts", "result")
        now = {column: db_now() for column in (c.created_at, c.updated_at, c.completed_at)}
        return insert(self._tables.tasks).values({**self._new(*columns, *outcome), **now, c.wake_at: db_now("wake_us")})

    def forget_invalid(self, seen: Task) -> bool:
        if seen.status is not TaskStatus.FAILED or seen.attempt != 0:
            return False
        return self._database.write(self._forget_invalid, seen_row(seen)) > 0

    @cached_property
    def _forget_invalid(self) -> Delete:
        return delete(self._tables.tasks).where(self._is_what_was_seen, self._c.wake_at.is_(None))
