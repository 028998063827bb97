"""What a login may do with our tables. Finding out changes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sqlalchemy import Connection, Executable, Table, delete, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from grid_async_task.adapters.sql.errors import mysql_code
from grid_async_task.adapters.sql.tables import Tables

#: what migrations need
TO_MIGRATE = ("CREATE", "ALTER", "INDEX")
#: errors that say that a right is missing, for a table and for a column
_DENIED = frozenset({1142, 1143})

_GRANT = re.compile(r"GRANT (?P<rights>.+?) ON (?:TABLE )?(?P<scope>\S+) TO ")
_GRANT_OF_A_ROLE = re.compile(r"GRANT (?!.* ON )")


def lacking_to_work(connection: Connection, tables: Tables) -> list[str]:
    """Of what workers and commands do with the tables, as in `UPDATE on tasks`, what this login may not do."""
    lacking = []
    for table in (tables.tasks, tables.checkpoints, tables.sweeps):
        for verb, statement in _uses(table):
            try:
                # explaining a statement takes the rights that the statement takes
                connection.exec_driver_sql(f"EXPLAIN {statement.compile(dialect=connection.dialect)}")  # type: ignore[attr-defined]
            except DBAPIError as error:
                if mysql_code(error) not in _DENIED:
                    raise
                lacking.append(f"{verb} on {table.name}")
    return lacking


def _uses(table: Table) -> Iterator[tuple[str, Executable]]:
    """Without a value from outside, and about no row."""
    (key,) = table.primary_key
    nobody = key.is_(None)
    yield "SELECT", select(key).where(nobody)
    yield "INSERT", insert(table).from_select(table.c.keys(), select(table).where(nobody))
    yield "UPDATE", update(table).where(nobody).values({key: key})
    yield "DELETE", delete(table).where(nobody)


def lacking_to_migrate(connection: Connection) -> list[str]:
    """Of the rights to make and alter tables in this database, those that nobody has granted to this login.

    Empty where that can't be told: what comes by way of a role is not listed by the server.
    """
    database = connection.engine.url.database or ""
    granted: set[str] = set()
    for line in connection.execute(text("SHOW GRANTS")).scalars():
        if _GRANT_OF_A_ROLE.match(line):
            return []
        grant = _GRANT.match(line)
        if grant is not None and _covers(grant["scope"], database):
            granted.update(right.strip().upper() for right in grant["rights"].split(","))
    if granted & {"ALL PRIVILEGES", "ALL"}:
        return []
    return [right for right in TO_MIGRATE if right not in granted]


def _covers(scope: str, database: str) -> bool:
    """Whether a grant on `name`.* or *.* is about this database; in names _ and % are wildcards unless escaped."""
    name, _, what = scope.rpartition(".")
    if what != "*":
        return False
    if name == "*":
        return True
    pattern = "".join(
        {"%": ".*", "_": "."}.get(part, re.escape(part.removeprefix("\\")))
        for part in re.findall(r"\\.|.", name.strip("`").replace("``", "`"))
    )
    return re.fullmatch(pattern, database, re.IGNORECASE) is not None
