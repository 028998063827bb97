"""Moving in from version 1.0.10: its rows in the new layout, and its table kept under another name.

Step by step, under the lock of migrations; whoever dies in between leaves what the next one goes on with.

    <name>           <name>_copying     <name>_v1     then
    the old table    -                  -             the rows are copied to <name>_copying, which is made anew
    the old table    all rows           -             both are renamed at once
    the new table    -                  the old one   what was written since it was copied is copied again
    the same, and <name>_version is there             done: workers start

Until the two are renamed version 1 works on, and nothing of its table is changed; from then on it can't reach it.
Workers of version 2 wait for `<name>_version`, or refuse to start (`refuse_foreign_table`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone

import structlog
from sqlalchemy import Connection, RowMapping, Table, delete, insert, inspect, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateIndex, CreateTable, DropTable

from grid_async_task.adapters.sql.database import Database
from grid_async_task.adapters.sql.errors import translated
from grid_async_task.adapters.sql.foreign_table import (
    is_half_copied,
    is_of_the_reference,
    missing_columns,
    refuse_foreign_table,
)
from grid_async_task.adapters.sql.migrations import migration_lock, run_migrations
from grid_async_task.adapters.sql.reference_rows import COLUMNS, OldRow, Unfit, read_row, reference_table
from grid_async_task.adapters.sql.tables import Tables
from grid_async_task.domain.errors import ConfigurationError
from grid_async_task.ports.errors import DataRefused

#: rows that are read, and written, at a time
BATCH = 100

#: the columns in which a row differs that version 1 has changed; JSON is no good for comparing, MySQL rewrites it
_SIGNS_OF_CHANGE = (
    *("status", "attempt", "retry_count", "progress", "progress_message", "error_message"),
    *("updated_at", "started_at", "completed_at"),
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class LeftBehind:
    """A row that is in the old table only."""

    id: int
    task_id: str | None
    reason: str


@dataclass(frozen=True)
class Copied:
    """What became of the rows of version 1."""

    #: where the old table stays
    old_table: str
    #: how many tasks were copied, by the status that they had
    by_status: Counter[str] = field(default_factory=Counter)
    left_behind: list[LeftBehind] = field(default_factory=list)
    #: there was nothing to do: the table has the new layout
    was_done: bool = False


def copy_from_reference(database: Database, tables: Tables, queue: str) -> Copied:
    """Copy all rows, as tasks of `queue`, and make everything ready for workers.

    Raises `ConfigurationError` where there is no such table, or no room for the old one.
    """
    with migration_lock(database, tables) as connection:
        if database.is_mysql:
            # a statement that waits longer than we do would come when nobody expects it any more
            wait_s = max(1, int(database.answer_timeout_s) - 1)
            connection.exec_driver_sql(f"SET SESSION lock_wait_timeout={wait_s}")
        copied = _move(connection, tables, queue)
        run_migrations(connection, tables)
    if not copied.was_done:
        log.info("table copied", table=tables.name, old_table=copied.old_table, tasks=copied.by_status.total())
    return copied


def _move(connection: Connection, tables: Tables, queue: str) -> Copied:
    there = inspect(connection)
    if not there.has_table(tables.name):
        raise ConfigurationError(
            f"there is no table {tables.name}. Version 1.x called its table grid_async_tasks where nothing else was"
            " set; for that one set GRID_ASYNC_TASK_TABLE_PREFIX=grid_async_ and GRID_ASYNC_TASK_TABLE_NAME=tasks"
        )
    if is_of_the_reference(there, tables.name):
        _refuse_what_can_not_be_moved(connection, tables)
        beside = _make_anew_beside(connection, tables)
        _copy(connection, tables.name, beside, queue)
        _swap(connection, tables, beside)
    elif missing_columns(there, tables.name) or not is_half_copied(there, tables):
        refuse_foreign_table(connection, tables)
        return Copied(tables.v1_name, was_done=True)
    return _copy(connection, tables.v1_name, tables.tasks, queue)


def _refuse_what_can_not_be_moved(connection: Connection, tables: Tables) -> None:
    there = inspect(connection)
    if there.has_table(tables.v1_name):
        raise ConfigurationError(
            f"the table {tables.v1_name} exists, so {tables.name} can't be kept under that name;"
            f" rename {tables.v1_name} if it is still of use, or drop it"
        )
    missing = [name for name in COLUMNS if name not in {found["name"] for found in there.get_columns(tables.name)}]
    if missing:
        raise ConfigurationError(
            f"the table {tables.name} has no column {missing[0]}: it is not as version 1.0.10 makes it; add the column"
        )


def _make_anew_beside(connection: Connection, tables: Tables) -> Table:
    """An empty table in the newest layout. What an earlier try has left is thrown away."""
    beside = tables.beside
    there = inspect(connection)
    if there.has_table(beside.name):
        if missing_columns(there, beside.name):
            raise ConfigurationError(f"the table {beside.name} is in the way; rename it")
        connection.execute(DropTable(beside))
    connection.execute(CreateTable(beside))
    for index in beside.indexes:
        connection.execute(CreateIndex(index))
    return beside


def _swap(connection: Connection, tables: Tables, beside: Table) -> None:
    """At no moment there is no table. A `<name>_version` from other days would say that all is done."""
    connection.execute(text(f"DROP TABLE IF EXISTS {tables.version_name}"))
    quoted = connection.dialect.identifier_preparer.quote
    name, v1_name, beside_name = quoted(tables.name), quoted(tables.v1_name), quoted(beside.name)
    if connection.dialect.name == "mysql":
        connection.execute(text(f"RENAME TABLE {name} TO {v1_name}, {beside_name} TO {name}"))
    else:  # SQLite: all of this is one transaction
        connection.execute(text(f"ALTER TABLE {name} RENAME TO {v1_name}"))
        connection.execute(text(f"ALTER TABLE {beside_name} RENAME TO {name}"))


def _copy(connection: Connection, source: str, target: Table, queue: str) -> Copied:
    """Give every fit row of `source` its like in `target`; those that have one already are left."""
    copied = Copied(old_table=source)
    repeated = _repeated_ids(connection, source)
    for batch in _batches(connection, source):
        fit: list[OldRow] = []
        for row in batch:
            try:
                if row["id"] in repeated:
                    raise Unfit("an older row has the same task_id")
                fit.append(read_row(row, queue, datetime.now(timezone.utc)))
            except Unfit as error:
                copied.left_behind.append(LeftBehind(row["id"], row["task_id"], str(error)))
        refused = _write(connection, target, fit)
        copied.left_behind.extend(refused)
        lost = {row.id for row in refused}
        copied.by_status.update(row.status.value for row in fit if row.id not in lost)
    return copied


def _repeated_ids(connection: Connection, source: str) -> set[int]:
    """Rows whose task_id an older row has, byte for byte. None, as long as the unique index is there."""
    if any(i["unique"] and i["column_names"] == ["task_id"] for i in inspect(connection).get_indexes(source)):
        return set()
    old = reference_table(source)
    first: dict[str, int] = {}
    ids = connection.execute(select(old.c.id, old.c.task_id).order_by(old.c.id))
    return {row.id for row in ids if first.setdefault(row.task_id, row.id) != row.id}


def _batches(connection: Connection, source: str) -> Iterator[Sequence[RowMapping]]:
    old = reference_table(source)
    rows = select(old).order_by(old.c.id).limit(BATCH)
    batch = connection.execute(rows).mappings().all()
    while batch:
        yield batch
        batch = connection.execute(rows.where(old.c.id > batch[-1]["id"])).mappings().all()


def _write(connection: Connection, target: Table, rows: Sequence[OldRow]) -> list[LeftBehind]:
    """Those that the database refused."""
    signs = [target.c[name] for name in _SIGNS_OF_CHANGE]
    existing = select(target.c.id, *signs).where(target.c.id.in_([row.task_id for row in rows]))
    known = {row["id"]: row for row in connection.execute(existing).mappings()}
    changed = [row for row in rows if row.task_id not in known or _differs(row, known[row.task_id])]
    _delete(connection, target, [row for row in changed if row.task_id in known])
    if not changed:
        return []
    try:
        connection.execute(insert(target), [row.values for row in changed])
    except (DBAPIError, DataRefused):
        # one of them, and the others may be written or not
        _delete(connection, target, changed)
        return [left for row in changed if (left := _write_one(connection, target, row))]
    return []


def _differs(row: OldRow, known: RowMapping) -> bool:
    return any(row.values[name] != known[name] for name in _SIGNS_OF_CHANGE)


def _delete(connection: Connection, target: Table, rows: Sequence[OldRow]) -> None:
    if rows:
        connection.execute(delete(target).where(target.c.id.in_([row.task_id for row in rows])))


def _write_one(connection: Connection, target: Table, row: OldRow) -> LeftBehind | None:
    try:
        connection.execute(insert(target), row.values)
    except DataRefused as refusal:
        return LeftBehind(row.id, row.task_id, str(refusal))
    except DBAPIError as error:
        meaning = translated(error, has_worked=True)
        if not isinstance(meaning, DataRefused):
            raise
        return LeftBehind(row.id, row.task_id, str(meaning))
    return None
