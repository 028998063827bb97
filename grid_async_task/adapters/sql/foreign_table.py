"""Recognising a table that has our name but is not ours, so that it is never altered."""

from __future__ import annotations

from sqlalchemy import Connection, Inspector, Integer, String, inspect

from grid_async_task.adapters.sql.tables import Tables
from grid_async_task.domain.errors import ConfigurationError

#: columns that have been there since the first migration: a table without one of them can't be ours
FIRST_LAYOUT = frozenset({"id", "queue", "status", "attempt", "owner", "wake_at", "extra", "sweep_after"})


def refuse_foreign_table(connection: Connection, tables: Tables) -> None:
    """Raises `ConfigurationError` if the table exists in the layout of version 1.0.10, or in any other but ours.

    Also if it has our layout, but its rows are still being copied from version 1.0.10.
    """
    inspector = inspect(connection)
    if not inspector.has_table(tables.name):
        return
    if is_of_the_reference(inspector, tables.name):
        raise ConfigurationError(
            f"the table {tables.name} was made by grid-async-task 1.x and is left as it is; copy its rows into the"
            f" new layout by: grid-async-task migrate --from-reference (the old table stays as {tables.v1_name})"
        )
    missing = missing_columns(inspector, tables.name)
    if missing:
        raise ConfigurationError(
            f"the table {tables.name} exists and is not ours (it has no column {missing[0]}); it is left as it is:"
            " choose another name by TABLE_PREFIX and TABLE_NAME, or rename that table"
        )
    if is_half_copied(inspector, tables):
        raise ConfigurationError(
            f"copying {tables.v1_name} to {tables.name} was interrupted; finish it by:"
            " grid-async-task migrate --from-reference"
        )


def is_of_the_reference(inspector: Inspector, name: str) -> bool:
    """Whether there is such a table and version 1.x has made it."""
    if not inspector.has_table(name):
        return False
    types = {column["name"]: column["type"] for column in inspector.get_columns(name)}
    return isinstance(types.get("id"), Integer) and isinstance(types.get("task_id"), String)


def is_half_copied(inspector: Inspector, tables: Tables) -> bool:
    """Whether our table lies beside the reference's old one and nobody has used it yet: a migration comes last."""
    return not inspector.has_table(tables.version_name) and is_of_the_reference(inspector, tables.v1_name)


def missing_columns(inspector: Inspector, name: str) -> list[str]:
    """What the table lacks to be ours."""
    return sorted(FIRST_LAYOUT - {column["name"] for column in inspector.get_columns(name)})
