"""Taking a due callback for sending, and writing what became of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from typing import Any

from sqlalchemy import ColumnElement, Update, and_, bindparam, or_, update

from grid_async_task.adapters.sql.db_time import db_now, microseconds
from grid_async_task.adapters.sql.sql_part import FINAL, SqlPart
from grid_async_task.domain.task import CallbackStatus, Task
from grid_async_task.ports.task_repository import CallbackMark

#: nobody is on it any more
OVER = (CallbackStatus.SENT, CallbackStatus.EXHAUSTED)


class CallbacksPart(SqlPart):
    def take_callback(self, seen: Task, *, hold_s: float) -> Task | None:
        hold = timedelta(seconds=hold_s)
        taken = replace(
            seen,
            wake_at=self._database.clock.now() + hold,
            updated_at=self._database.clock.now(),
            callback_attempts=seen.callback_attempts + 1,
            sweep_count=0,
        )
        values = {
            **_seen_callback(seen),
            "new_callback_attempts": taken.callback_attempts,
            "hold_us": microseconds(hold),
        }
        return taken if self._database.write(self._take_callback, values) else None

    @cached_property
    def _take_callback(self) -> Update:
        return (
            update(self._tables.tasks)
            .where(self._callback_is_as_seen, self._c.wake_at <= db_now())
            .values(
                {**self._moves_on, **self._new("callback_attempts"), self._c.wake_at: db_now("hold_us")},
            )
        )

    def mark_callback(self, taken: Task, mark: CallbackMark) -> bool:
        wake_us = None
        if mark.sent:
            status = CallbackStatus.SENT
        elif mark.retry_in_s is not None:
            status, wake_us = CallbackStatus.DUE, microseconds(timedelta(seconds=mark.retry_in_s))
        else:
            status = CallbackStatus.EXHAUSTED
        values = {
            **_seen_callback(taken),
            "new_callback_status": status.value,
            "new_callback_attempts": taken.callback_attempts - (not mark.counts),
            "failed": int(mark.failed),
            "wake_us": wake_us,
        }
        return self._database.write(self._mark_callback, values) > 0

    @cached_property
    def _mark_callback(self) -> Update:
        c = self._c
        return (
            update(self._tables.tasks)
            .where(self._callback_is_as_seen, c.callback_status == CallbackStatus.DUE.value)
            .values(
                {
                    **self._new("callback_status", "callback_attempts"),
                    c.callback_failures: c.callback_failures + bindparam("failed"),
                    c.wake_at: db_now("wake_us"),
                    c.updated_at: db_now(),
                }
            )
        )

    def redeliver_callback(self, seen: Task) -> bool:
        if seen.callback_status not in OVER:
            return False
        values = {**_seen_callback(seen), "seen_callback_status": seen.callback_status.value}
        return self._database.write(self._redeliver_callback, values) > 0

    @cached_property
    def _redeliver_callback(self) -> Update:
        c = self._c
        return (
            update(self._tables.tasks)
            .where(self._callback_is_as_seen, c.callback_status == bindparam("seen_callback_status"))
            .values(
                {
                    **self._moves_on,
                    c.callback_status: CallbackStatus.DUE.value,
                    c.callback_attempts: 0,
                    c.callback_failures: 0,
                    c.wake_at: db_now(),
                }
            )
        )

    @cached_property
    def _callback_is_as_seen(self) -> ColumnElement[bool]:
        c = self._c
        return and_(
            c.id == bindparam("seen_id"),
            c.attempt == bindparam("seen_attempt"),
            c.callback_attempts == bindparam("seen_callback_attempts"),
            or_(*(c.status == status for status in FINAL)),
        )


def _seen_callback(seen: Task) -> dict[str, Any]:
    return {
        "seen_id": seen.id,
        "seen_attempt": seen.attempt,
        "seen_callback_attempts": seen.callback_attempts,
    }
