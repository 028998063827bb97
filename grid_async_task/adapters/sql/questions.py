"""What operators and callers ask about tasks, and the removal of old ones."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Delete, Select, and_, bindparam, case, delete, func, or_, select

from grid_async_task.adapters.sql.db_time import db_now, microseconds
from grid_async_task.adapters.sql.rows import to_task
from grid_async_task.adapters.sql.sql_part import FINAL, SqlPart
from grid_async_task.domain.task import CallbackStatus, Task, TaskStatus
from grid_async_task.ports.task_repository import Backlog, Pruned, TaskFilter

#: hardly any task has a callback in these states
RARE = (CallbackStatus.DUE, CallbackStatus.EXHAUSTED)


class QuestionsPart(SqlPart):
    def list_tasks(self, wanted: TaskFilter, limit: int) -> list[Task]:
        """Without the checkpoints, which may be large."""
        c = self._c
        conditions, values = self._where(wanted)
        newest_first = (
            select(self._tables.tasks).where(*conditions).order_by(c.created_at.desc(), c.id.desc()).limit(limit)
        )
        if wanted.callback_status in RARE:
            # it would be followed through the whole table, from row to row: reading that straight takes a twentieth
            by_time = f"IGNORE INDEX ({self._tables.name}_created)"
            newest_first = newest_first.with_hint(self._tables.tasks, by_time, "mysql")
        return [to_task(row) for row in self._database.rows(newest_first, values)]

    def _where(self, wanted: TaskFilter) -> tuple[list[ColumnElement[bool]], dict[str, Any]]:
        """The conditions, and the values that they compare with the database's clock."""
        c = self._c
        conditions: list[ColumnElement[bool]] = []
        values: dict[str, Any] = {}
        if wanted.statuses:
            conditions.append(c.status.in_([status.value for status in wanted.statuses]))
        if wanted.task_type is not None:
            conditions.append(c.task_type == wanted.task_type)
        if wanted.queue is not None:
            conditions.append(c.queue == wanted.queue)
        if wanted.callback_status is not None:
            conditions.append(c.callback_status == wanted.callback_status.value)
            if wanted.callback_status is CallbackStatus.DUE:
                conditions.append(c.wake_at.is_not(None))  # as it is for all that is due, and by queue it has an index
        if wanted.before is not None:
            earlier: ColumnElement[bool] = c.created_at < wanted.before
            if wanted.before_id is not None:
                earlier = or_(earlier, and_(c.created_at == wanted.before, c.id < wanted.before_id))
            conditions.append(earlier)
        if wanted.id_prefix is not None:
            # LIKE alone ignores case on SQLite, a comparison alone ignores spaces at the end on MySQL
            conditions.append(c.id.startswith(wanted.id_prefix, autoescape=True))
            conditions.append(func.substr(c.id, 1, len(wanted.id_prefix)) == wanted.id_prefix)
        if wanted.older_than_s is not None:
            conditions.append(c.created_at < db_now("older_us"))
            values["older_us"] = _ago_us(wanted.older_than_s)
        if wanted.newer_than_s is not None:
            conditions.append(c.created_at >= db_now("newer_us"))
            values["newer_us"] = _ago_us(wanted.newer_than_s)
        return conditions, values

    def count_by_status(self) -> dict[TaskStatus, int]:
        count = select(self._c.status, func.count().label("tasks")).group_by(self._c.status)
        return {TaskStatus(row["status"]): row["tasks"] for row in self._database.rows(count, {})}

    def backlog(self, queue: str) -> Backlog:
        rows = self._database.rows(self._backlog, {"seen_queue": queue})
        tasks: dict[TaskStatus, int] = {}
        oldest_waiting_s = oldest_callback_s = 0.0
        callbacks_due = 0
        for row in rows:
            status = TaskStatus(row["status"])
            if status.is_final:
                callbacks_due += row["tasks"]
                oldest_callback_s = max(oldest_callback_s, (row["now"] - row["oldest_end"]).total_seconds())
                continue
            tasks[status] = row["tasks"]
            if status is TaskStatus.PENDING and row["oldest"] is not None:
                oldest_waiting_s = (row["now"] - row["oldest"]).total_seconds()
        return Backlog(tasks, oldest_waiting_s, callbacks_due, oldest_callback_s)

    @cached_property
    def _backlog(self) -> Select[Any]:
        c = self._c
        # a task for later waits for its time and not for a worker
        ready_since = case((c.wake_at.is_(None) | (c.wake_at <= db_now()), func.coalesce(c.wake_at, c.updated_at)))
        is_due = and_(c.status.in_(FINAL), c.callback_status == CallbackStatus.DUE.value)
        return (
            select(
                c.status,
                func.count().label("tasks"),
                func.min(ready_since).label("oldest"),
                func.min(c.completed_at).label("oldest_end"),
                db_now().label("now"),
            )
            .where(c.queue == bindparam("seen_queue"), or_(c.status.not_in(FINAL), is_due))
            .group_by(c.status)
        )

    def prune(
        self,
        older_than_s: float,
        limit: int,
        status: TaskStatus | None = None,
        created_from: datetime | None = None,
    ) -> Pruned:
        """Found without locks, then locked by primary key: a locking search would stop the workers meanwhile."""
        age = _age(older_than_s, status)
        find = self._find_prunable
        if created_from is not None:
            find = find.where(self._c.created_at >= created_from)
        found = self._database.rows(find, {**age, "limit": limit})
        if not found:
            return Pruned(0, None)
        with self._database.transaction() as connection:
            seen_ids = [row["id"] for row in found]
            prunable = connection.execute(self._lock_prunable, {**age, "seen_ids": seen_ids}).scalars().all()
            for doomed in self._delete_all:
                connection.execute(doomed, {"seen_ids": prunable})
        return Pruned(len(prunable), found[-1]["created_at"])

    def count_prunable(self, older_than_s: float, status: TaskStatus | None = None) -> int:
        return int(self._database.rows(self._count_prunable, _age(older_than_s, status))[0]["tasks"])

    @cached_property
    def _is_prunable(self) -> ColumnElement[bool]:
        c = self._c
        has_ended = c.status.in_(bindparam("final_statuses", expanding=True))
        return and_(has_ended, c.wake_at.is_(None), c.completed_at < db_now("age_us"))

    @cached_property
    def _is_old(self) -> ColumnElement[bool]:
        # what ended before that moment was created before it, and there is an index on that
        return and_(self._c.created_at < db_now("age_us"), self._is_prunable)

    @cached_property
    def _find_prunable(self) -> Select[Any]:
        c = self._c
        return select(c.id, c.created_at).where(self._is_old).order_by(c.created_at).limit(bindparam("limit"))

    @cached_property
    def _count_prunable(self) -> Select[Any]:
        return select(func.count().label("tasks")).select_from(self._tables.tasks).where(self._is_old)

    @cached_property
    def _lock_prunable(self) -> Select[Any]:
        return (
            select(self._c.id)
            .where(self._c.id.in_(bindparam("seen_ids", expanding=True)), self._is_prunable)
            .with_for_update()
        )

    @cached_property
    def _delete_all(self) -> tuple[Delete, Delete]:
        ids: BindParameter[Any] = bindparam("seen_ids", expanding=True)
        checkpoints = self._tables.checkpoints
        return (
            delete(checkpoints).where(checkpoints.c.task_id.in_(ids)),
            delete(self._tables.tasks).where(self._c.id.in_(ids)),
        )


def _ago_us(seconds: float) -> int:
    return -microseconds(timedelta(seconds=seconds))


def _age(older_than_s: float, status: TaskStatus | None) -> dict[str, Any]:
    return {"age_us": _ago_us(older_than_s), "final_statuses": FINAL if status is None else (status.value,)}
