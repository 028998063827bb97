"""The three tables, as the newest migration leaves them (`alembic/versions/` has the steps)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy import Boolean, Column, Index, Integer, MetaData, String, Table, text
from sqlalchemy.schema import CreateTable

from grid_async_task.adapters.sql.column_types import JsonText, UtcDateTime, error_text, long_text, one_of
from grid_async_task.adapters.sql.db_time import default_now
from grid_async_task.domain.errors import ConfigurationError
from grid_async_task.domain.task import CallbackStatus, TaskStatus

#: leaves room for the endings of the other tables and of the indexes: MySQL's names have 64 characters
MAX_NAME_CHARACTERS = 48

#: every table says this for itself: a database made by a bare CREATE DATABASE may be latin1, and the default
#: collations of utf8mb4 take `Job` for `job` and `ß` for `ss`
TABLE_OPTIONS: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mysql_row_format": "DYNAMIC",
}


@dataclass(frozen=True)
class Tables:
    name: str
    tasks: Table
    #: apart from the tasks, so that a heartbeat does not write them to the binary log again and again
    checkpoints: Table
    #: when each queue was swept last
    sweeps: Table

    @property
    def version_name(self) -> str:
        """Where alembic keeps the number of the newest migration."""
        return f"{self.name}_version"

    @cached_property
    def versions(self) -> Table:
        return Table(
            self.version_name, MetaData(), Column("version_num", String(32), primary_key=True), **TABLE_OPTIONS
        )

    @property
    def create_versions(self) -> CreateTable:
        return CreateTable(self.versions, if_not_exists=True)

    @property
    def v1_name(self) -> str:
        """Where the table of version 1.x stays whose rows were copied to this one."""
        return f"{self.name}_v1"

    @property
    def beside(self) -> Table:
        """The table of tasks, while rows are copied to it, under another name; its indexes have their final names."""
        return _tasks(f"{self.name}_copying", MetaData(), indexes_of=self.name)


def tables_named(name: str) -> Tables:
    """The tables behind this name; raises `ConfigurationError` if it is no good one."""
    if not re.fullmatch(rf"[A-Za-z0-9_]{{1,{MAX_NAME_CHARACTERS}}}", name):
        raise ConfigurationError(
            f"the table name {name!r} won't do: letters, digits and underscores, at most {MAX_NAME_CHARACTERS} of them"
            " (TABLE_PREFIX and TABLE_NAME)"
        )
    metadata = MetaData()
    return Tables(name, _tasks(name, metadata, indexes_of=name), _checkpoints(name, metadata), _sweeps(name, metadata))


def _tasks(name: str, metadata: MetaData, *, indexes_of: str) -> Table:
    nought = text("0")
    return Table(
        name,
        metadata,
        Column("id", String(255), primary_key=True),
        Column("queue", String(255), nullable=False, server_default=""),
        Column("task_type", String(100), nullable=False, server_default="default"),
        Column("status", one_of(*(status.value for status in TaskStatus)), nullable=False, server_default="pending"),
        Column("data", JsonText()),
        Column("extra", JsonText()),
        Column("result", JsonText()),
        Column("error_message", error_text()),
        Column("error_type", String(255)),
        Column("error_cause", String(255)),
        Column("progress", Integer, nullable=False, server_default=nought),
        Column("progress_message", String(500), nullable=False, server_default=""),
        Column("attempt", Integer, nullable=False, server_default=nought),
        Column("owner", String(255)),
        Column("wake_at", UtcDateTime()),
        Column("retry_count", Integer, nullable=False, server_default=nought),
        Column("max_retry_count", Integer, server_default=nought),
        Column("crash_count", Integer, nullable=False, server_default=nought),
        Column("cancel_requested", Boolean, nullable=False, server_default=nought),
        Column("callback_url", String(500)),
        Column("callback_type", String(100), nullable=False, server_default="http"),
        Column("callback_data", JsonText()),
        Column("callback_status", one_of(*(status.value for status in CallbackStatus))),
        Column("callback_attempts", Integer, nullable=False, server_default=nought),
        Column("sweep_after", UtcDateTime()),
        Column("sweep_count", Integer, nullable=False, server_default=nought),
        Column("created_at", UtcDateTime(), nullable=False, server_default=default_now()),
        Column("updated_at", UtcDateTime(), nullable=False, server_default=default_now()),
        Column("started_at", UtcDateTime()),
        Column("completed_at", UtcDateTime()),
        Column("grouped", Boolean, nullable=False, server_default=nought),
        Column("callback_failures", Integer, nullable=False, server_default=nought),
        # one index for all who look for what is due, one for listing and pruning: each costs every task a write
        Index(f"{indexes_of}_wake", "queue", "wake_at"),
        Index(f"{indexes_of}_created", "created_at"),
        **TABLE_OPTIONS,
    )


def _checkpoints(name: str, metadata: MetaData) -> Table:
    return Table(
        f"{name}_checkpoints",
        metadata,
        Column("task_id", String(255), primary_key=True),
        Column("value", long_text(), nullable=False),
        Column("updated_at", UtcDateTime(), nullable=False),
        **TABLE_OPTIONS,
    )


def _sweeps(name: str, metadata: MetaData) -> Table:
    return Table(
        f"{name}_sweeps",
        metadata,
        Column("queue", String(255), primary_key=True),
        Column("swept_at", UtcDateTime(), nullable=False),
        **TABLE_OPTIONS,
    )
