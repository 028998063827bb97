"""What the parts of the repository share: the database, the tables, and the conditions that most writes begin with.

Values that a statement compares with are called `seen_...`, values that it writes `new_...`, durations `..._us`.
Every value that derives from another one is computed by the domain's methods beforehand and bound: within a SET,
MySQL reads what it has just assigned, SQLite what was there before.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Insert, and_, bindparam, literal_column, null
from sqlalchemy.dialects import mysql

from grid_async_task.adapters.sql.database import Database
from grid_async_task.adapters.sql.db_time import db_now, microseconds
from grid_async_task.adapters.sql.tables import Tables
from grid_async_task.domain.task import Task, TaskStatus
from grid_async_task.ports.task_repository import TaskRepository

FINAL = tuple(status.value for status in TaskStatus if status.is_final)


class SqlPart(TaskRepository):
    def __init__(self, database: Database, tables: Tables) -> None:
        self._database = database
        self._tables = tables

    @cached_property
    def _c(self) -> Any:
        """The columns of the table of tasks."""
        return self._tables.tasks.c

    @cached_property
    def _is_what_was_seen(self) -> ColumnElement[bool]:
        """The condition of all who are not the owner; `seen_row` has its values."""
        return and_(
            self._c.id == bindparam("seen_id"),
            self._c.attempt == bindparam("seen_attempt"),
            self._c.status == bindparam("seen_status"),
        )

    @cached_property
    def _is_held(self) -> ColumnElement[bool]:
        """The fence: the condition of all that the owner writes; `held_by` has its values."""
        return and_(
            self._c.id == bindparam("seen_id"),
            self._c.attempt == bindparam("seen_attempt"),
            self._c.owner == bindparam("seen_owner"),
            self._c.status == literal_column(f"'{TaskStatus.RUNNING.value}'"),
        )

    @cached_property
    def _lease_seen_has_expired(self) -> ColumnElement[bool]:
        return and_(self._c.wake_at == bindparam("seen_wake_at"), self._c.wake_at <= db_now())

    @cached_property
    def _moves_on(self) -> dict[Any, Any]:
        """What every step sets that answers a ticket: the sweep's marks were for the row as it stood."""
        return {self._c.updated_at: db_now(), self._c.sweep_after: null(), self._c.sweep_count: literal_column("0")}

    def _new(self, *names: str) -> dict[Any, BindParameter[Any]]:
        """SET these columns to values bound as `new_<column>`."""
        return {self._c[name]: bindparam(f"new_{name}") for name in names}

    def _insert_or_nothing(self, values: dict[Any, Any]) -> Insert:
        """Add a row unless one of its key exists."""
        if self._database.is_mysql:
            return mysql.insert(self._tables.tasks).values(values).on_duplicate_key_update(id=self._c.id)
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(self._tables.tasks).values(values).on_conflict_do_nothing()


def seen_row(seen: Task) -> dict[str, Any]:
    return {"seen_id": seen.id, "seen_attempt": seen.attempt, "seen_status": seen.status.value}


def held_by(claim: Task) -> dict[str, Any]:
    return {"seen_id": claim.id, "seen_attempt": claim.attempt, "seen_owner": claim.owner}


def new(values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"new_{name}": value for name, value in values.items()}


def us_until(moment: datetime | None, now: datetime) -> int | None:
    """The distance is what the statement gets: the database adds it to its own clock."""
    return None if moment is None else microseconds(moment - now)
