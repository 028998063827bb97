"""The sweep: who does it, what it finds, and how long each row is left alone afterwards."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property
from typing import Any

from sqlalchemy import Insert, Select, Update, bindparam, insert, select, update

from grid_async_task.adapters.sql.db_time import db_now, microseconds
from grid_async_task.adapters.sql.rows import to_task
from grid_async_task.adapters.sql.sql_part import FINAL, SqlPart, seen_row
from grid_async_task.domain.task import Task, TaskStatus

#: a row is left alone this long after its first sweep, twice as long after each further one
FIRST_PAUSE = timedelta(minutes=5)
LONGEST_PAUSE = timedelta(hours=6)

#: states in which a row is looked after as soon as `wake_at` has passed
AT_ONCE = (TaskStatus.PENDING.value, *FINAL)


class SweepsPart(SqlPart):
    def win_sweep(self, queue: str, every_s: float) -> bool:
        values = {"seen_queue": queue, "every_us": -microseconds(timedelta(seconds=every_s))}
        if self._database.write(self._win_sweep, values):
            return True
        # not yet time, or the first sweep of this queue
        return self._database.insert(self._first_sweep, {"seen_queue": queue})

    @cached_property
    def _win_sweep(self) -> Update:
        sweeps = self._tables.sweeps
        return (
            update(sweeps)
            .where(sweeps.c.queue == bindparam("seen_queue"), sweeps.c.swept_at <= db_now("every_us"))
            .values({sweeps.c.swept_at: db_now()})
        )

    @cached_property
    def _first_sweep(self) -> Insert:
        sweeps = self._tables.sweeps
        return insert(sweeps).values({sweeps.c.queue: bindparam("seen_queue"), sweeps.c.swept_at: db_now()})

    def overdue(self, queue: str, *, lost_after_s: float, limit: int) -> list[Task]:
        """Without the checkpoints: a sweep only publishes tickets."""
        values = {
            "seen_queue": queue,
            "lost_us": -microseconds(timedelta(seconds=lost_after_s)),
            "limit": limit,
        }
        return [to_task(row) for row in self._database.rows(self._overdue, values)]

    @cached_property
    def _overdue(self) -> Select[Any]:
        c = self._c
        return (
            select(self._tables.tasks)
            .where(
                c.queue == bindparam("seen_queue"),
                c.wake_at <= db_now(),
                c.status.in_(AT_ONCE) | (c.wake_at <= db_now("lost_us")),
                c.sweep_after.is_(None) | (c.sweep_after <= db_now()),
            )
            .order_by(c.wake_at)
            .limit(bindparam("limit"))
        )

    def mark_swept(self, task: Task) -> bool:
        # 2 ** 7 already is more than the longest pause
        pause = min(FIRST_PAUSE * 2 ** min(task.sweep_count, 7), LONGEST_PAUSE)
        values = {
            **seen_row(task),
            "seen_sweep_count": task.sweep_count,
            "new_sweep_count": task.sweep_count + 1,
            "pause_us": microseconds(pause),
        }
        return self._database.write(self._mark_swept, values) > 0

    @cached_property
    def _mark_swept(self) -> Update:
        c = self._c
        return (
            update(self._tables.tasks)
            .where(self._is_what_was_seen, c.sweep_count == bindparam("seen_sweep_count"))
            .values({**self._new("sweep_count"), c.sweep_after: db_now("pause_us")})
        )
