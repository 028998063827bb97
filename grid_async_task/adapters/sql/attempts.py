"""A worker and its task: claim, heartbeat, outcome, checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Insert,
    Select,
    Update,
    bindparam,
    func,
    insert,
    literal_column,
    null,
    select,
    update,
)
from sqlalchemy.dialects import mysql

from grid_async_task.adapters.sql.db_time import db_now
from grid_async_task.adapters.sql.rows import message_values, outcome_values, to_task
from grid_async_task.adapters.sql.sql_part import SqlPart, held_by, new, seen_row, us_until
from grid_async_task.domain.json_text import to_json
from grid_async_task.domain.message import TaskMessage
from grid_async_task.domain.outcome import Outcome, Succeeded
from grid_async_task.domain.progress import Progress
from grid_async_task.domain.task import Task, TaskStatus
from grid_async_task.ports.task_repository import Reading, Renewal

#: values that stand in the statement as they are: a driver has to quote each that is bound
RUNNING: ColumnElement[str] = literal_column(f"'{TaskStatus.RUNNING.value}'")
SUCCESS: ColumnElement[str] = literal_column(f"'{TaskStatus.SUCCESS.value}'")

CLAIMABLE = (TaskStatus.PENDING, TaskStatus.RETRYING, TaskStatus.RUNNING)


class AttemptsPart(SqlPart):
    def insert_claimed(
        self, message: TaskMessage, *, queue: str, owner: str, lease_s: float, max_retry_count: int
    ) -> Task | None:
        now = self._database.clock.now()
        task = Task.pending(message, queue, now).claimed(owner, now, lease_s, max_retry_count, crashed=False)
        values = {**message_values(message, queue), "max_retry_count": task.max_retry_count, "owner": owner}
        inserted = self._database.insert(self._insert_claimed, {**new(values), "lease_us": us_until(task.wake_at, now)})
        return task if inserted else None

    @cached_property
    def _insert_claimed(self) -> Insert:
        c = self._c
        now = {column: db_now() for column in (c.created_at, c.updated_at, c.started_at)}
        bound = self._new(*message_values(TaskMessage(""), ""), "owner")
        first_run = {c.status: RUNNING, c.attempt: literal_column("1")}
        return insert(self._tables.tasks).values({**bound, **first_run, **now, c.wake_at: db_now("lease_us")})

    def read(self, task_id: str) -> Reading | None:
        readings = self.read_together([task_id])
        return readings[0] if readings else None

    def read_together(self, task_ids: Sequence[str]) -> list[Reading]:
        rows = self._database.rows(self._read, {"seen_ids": list(task_ids)})
        return [Reading(to_task(row, row["checkpoint"]), row["now"]) for row in rows]

    @cached_property
    def _read(self) -> Select[Any]:
        tasks, checkpoints = self._tables.tasks, self._tables.checkpoints
        return (
            select(tasks, checkpoints.c.value.label("checkpoint"), db_now().label("now"))
            .select_from(tasks.outerjoin(checkpoints, checkpoints.c.task_id == tasks.c.id))
            .where(tasks.c.id.in_(bindparam("seen_ids", expanding=True)))
        )

    def claim(self, seen: Task, *, owner: str, lease_s: float, max_retry_count: int, crashed: bool) -> Task | None:
        if seen.status not in CLAIMABLE:
            return None
        now = self._database.clock.now()
        task = seen.claimed(owner, now, lease_s, max_retry_count, crashed=crashed)
        values = {
            "status": task.status.value,
            "attempt": task.attempt,
            "owner": owner,
            "crash_count": task.crash_count,
            "max_retry_count": task.max_retry_count,
            "queue": task.queue,
        }
        matched = self._database.write(
            self._claim,
            {
                **seen_row(seen),
                "seen_wake_at": seen.wake_at,
                **new(values),
                "lease_us": us_until(task.wake_at, now),
            },
        )
        if not matched:
            return None
        if seen.status is TaskStatus.RUNNING:
            return self._with_newest_checkpoint(task)
        return replace(task, sweep_count=0)

    def _with_newest_checkpoint(self, task: Task) -> Task:
        """The worker before may have saved a checkpoint after its row was seen; none can follow now."""
        reading = self.read(task.id)
        is_still_mine = reading and (reading.task.attempt, reading.task.owner) == (task.attempt, task.owner)
        return reading.task if reading and is_still_mine else replace(task, sweep_count=0)

    @cached_property
    def _claim(self) -> Update:
        c = self._c
        is_free = (
            (c.status == TaskStatus.PENDING.value)
            | ((c.status == TaskStatus.RETRYING.value) & (c.wake_at <= db_now()))
            | ((c.status == TaskStatus.RUNNING.value) & self._lease_seen_has_expired)
        )
        return (
            update(self._tables.tasks)
            .where(self._is_what_was_seen, c.cancel_requested.is_(False), is_free)
            .values(
                {
                    **self._moves_on,
                    **self._new("status", "attempt", "owner", "crash_count", "max_retry_count", "queue"),
                    c.grouped: False,
                    c.wake_at: db_now("lease_us"),
                    c.started_at: db_now(),
                }
            )
        )

    def renew(self, claim: Task, *, lease_s: float, progress: Progress | None, cancel_known: bool) -> Renewal:
        now = self._database.clock.now()
        values = {
            **held_by(claim),
            "new_progress": progress and progress.percent,
            "new_progress_message": progress and progress.message,
            "lease_us": us_until(claim.renewed(now, lease_s, progress).wake_at, now),
        }
        if self._database.write(self._renew, {**values, "cancel_known": cancel_known}):
            return Renewal.HELD
        if not cancel_known and self._database.write(self._renew, {**values, "cancel_known": True}):
            return Renewal.CANCEL_REQUESTED
        return Renewal.LOST

    @cached_property
    def _renew(self) -> Update:
        c = self._c
        return (
            update(self._tables.tasks)
            .where(self._is_held, c.cancel_requested <= bindparam("cancel_known"))
            .values(
                {
                    c.wake_at: db_now("lease_us"),
                    c.updated_at: db_now(),
                    c.progress: func.coalesce(bindparam("new_progress"), c.progress),
                    c.progress_message: func.coalesce(bindparam("new_progress_message"), c.progress_message),
                }
            )
        )

    def settle(self, claim: Task, outcome: Outcome, progress: Progress | None) -> bool:
        if isinstance(outcome, Succeeded) and progress is None and not claim.callback.is_asked:
            return self._database.write(self._succeed, {**held_by(claim), "new_result": to_json(outcome.result)}) > 0
        now = self._database.clock.now()
        task = claim.settled(outcome, now, progress)
        # what the claim does not know, the row does: a heartbeat may have written progress since
        knows_percent = progress is not None or isinstance(outcome, Succeeded)
        values = {
            **outcome_values(task),
            "status": task.status.value,
            "retry_count": task.retry_count,
            "crash_count": task.crash_count,
            "progress": task.progress.percent if knows_percent else None,
            "progress_message": progress and progress.message,
        }
        due = {"wake_us": us_until(task.wake_at, now), "completed_us": us_until(task.completed_at, now)}
        return self._database.write(self._settle, {**held_by(claim), **new(values), **due}) > 0

    @cached_property
    def _succeed(self) -> Update:
        """What `_settle` writes in the usual case, with a quarter of the values."""
        c = self._c
        gone = (c.owner, c.wake_at, c.error_type, c.error_message, c.error_cause, c.callback_status)
        return (
            update(self._tables.tasks)
            .where(self._is_held)
            .values(
                {
                    **self._moves_on,
                    **self._new("result"),
                    **dict.fromkeys(gone, null()),
                    c.status: SUCCESS,
                    c.progress: literal_column("100"),
                    c.callback_attempts: literal_column("0"),
                    c.completed_at: db_now(),
                }
            )
        )

    @cached_property
    def _settle(self) -> Update:
        c = self._c
        return (
            update(self._tables.tasks)
            .where(self._is_held)
            .values(
                {
                    **self._moves_on,
                    **self._new("status", "retry_count", "crash_count", "result"),
                    **self._new("error_type", "error_message", "error_cause"),
                    **self._new("callback_status", "callback_attempts"),
                    c.owner: None,
                    c.wake_at: db_now("wake_us"),
                    c.completed_at: db_now("completed_us"),
                    c.progress: func.coalesce(bindparam("new_progress"), c.progress),
                    c.progress_message: func.coalesce(bindparam("new_progress_message"), c.progress_message),
                }
            )
        )

    def save_checkpoint(self, claim: Task, value_json: str) -> bool:
        return self._database.write(self._save_checkpoint, {**held_by(claim), "new_value": value_json}) > 0

    @cached_property
    def _save_checkpoint(self) -> Insert:
        """One row where the fence holds, none where it does not.

        With the row locked: without, a takeover could commit between the look at the fence and the write.
        """
        checkpoints = self._tables.checkpoints
        fenced = select(self._c.id, bindparam("new_value", type_=checkpoints.c.value.type), db_now())
        fenced = fenced.where(self._is_held).with_for_update()
        columns = ["task_id", "value", "updated_at"]
        if self._database.is_mysql:
            upsert = mysql.insert(checkpoints).from_select(columns, fenced)
            changes = {name: func.values(literal_column(name)) for name in ("value", "updated_at")}
            return upsert.on_duplicate_key_update(changes)
        from sqlalchemy.dialects import sqlite

        upsert_sqlite = sqlite.insert(checkpoints).from_select(columns, fenced)
        return upsert_sqlite.on_conflict_do_update(
            index_elements=["task_id"],
            set_={name: upsert_sqlite.excluded[name] for name in ("value", "updated_at")},
        )
