"""Writing a task's row within a transaction that belongs to the application."""

from __future__ import annotations

import inspect as python_inspect
import os
from collections.abc import Callable
from datetime import timedelta
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import Connection, Engine, Insert, event, inspect, text

from grid_async_task.adapters.sql.db_time import SQLITE_NOW, db_now, microseconds, sqlite_now
from grid_async_task.adapters.sql.foreign_table import missing_columns
from grid_async_task.adapters.sql.rows import message_values
from grid_async_task.adapters.sql.sql_part import SqlPart, new
from grid_async_task.domain.errors import ConfigurationError
from grid_async_task.domain.message import TaskMessage

Calls = list[Callable[[], None]]


class EnqueuePart(SqlPart):
    def insert_owed(
        self, message: TaskMessage, queue: str, delay_s: float, within: Any, committing: Callable[[], None]
    ) -> None:
        """`within` is a SQLAlchemy `Connection` or `Session`; what that raises is raised as it is."""
        connection = _connection_of(within)
        if connection.engine not in self._checked:
            self._require_our_tables(connection)
            self._checked.add(connection.engine)
        if not self._database.is_mysql:
            # the application's connections do not know our function
            raw: Any = connection.connection.driver_connection
            raw.create_function(SQLITE_NOW, 1, sqlite_now)
        values = {**new(message_values(message, queue)), "wake_us": microseconds(timedelta(seconds=delay_s))}
        connection.execute(self._insert_owed, values)
        self._at_commit(connection).append(committing)

    @cached_property
    def _insert_owed(self) -> Insert:
        values = {**self._new(*message_values(TaskMessage(""), "")), self._c.wake_at: db_now("wake_us")}
        return self._insert_or_nothing(values)

    @cached_property
    def _checked(self) -> WeakSet[Engine]:
        """Engines of the application that are known to lead to our tables."""
        return WeakSet()

    @cached_property
    def _waiting(self) -> WeakKeyDictionary[Connection, _Told]:
        return WeakKeyDictionary()

    def _at_commit(self, connection: Connection) -> Calls:
        """What is called when this connection commits next; a rollback, also to a savepoint, takes back its part.

        SQLAlchemy tells just before it sends COMMIT: whoever is called looks whether the row is there. A call too few
        does no harm, the sweep finds the row.
        """
        told = self._waiting.get(connection)
        if told is None:
            told = self._waiting[connection] = _Told()
            for name in ("commit", "rollback", "savepoint", "release_savepoint", "rollback_savepoint"):
                event.listen(connection, name, getattr(told, name))
        return told.calls

    def _require_our_tables(self, connection: Connection) -> None:
        ours, theirs = self._our_place, _place(connection)
        inspector = inspect(connection)
        if theirs == ours and inspector.has_table(self._tables.name):
            if not missing_columns(inspector, self._tables.name):
                return
            raise ConfigurationError(f"the table {self._tables.name} is not ours; run: grid-async-task check")
        what = f"is in {theirs}, MYSQL_URL leads to {ours}" if theirs != ours else "has none: grid-async-task migrate"
        raise ConfigurationError(
            f"a task is enqueued in the application's own transaction, so the table {self._tables.name} has to be in"
            f" the application's own database; this transaction {what}"
        )

    @property
    def _our_place(self) -> str:
        database = self._database.url.database or ""
        return f"the MySQL database {database}" if self._database.is_mysql else f"the file {os.path.realpath(database)}"


def _connection_of(within: Any) -> Connection:
    """Of a session its connection, which it begins a transaction on if there is none."""
    found = within if isinstance(within, Connection) else None
    if found is None and callable(getattr(within, "connection", None)):
        found = within.connection()
        if python_inspect.iscoroutine(found):
            found.close()
    if isinstance(found, Connection):
        return found
    raise ConfigurationError(
        f"a task is enqueued within a SQLAlchemy Connection or Session, not a {type(within).__name__};"
        " of an asynchronous one: await session.run_sync(lambda session: producer.enqueue(session, ...))"
    )


def _place(connection: Connection) -> str:
    """Where the connection's transaction writes, in the words of `_our_place`."""
    if connection.dialect.name == "sqlite":
        files = connection.execute(text("PRAGMA database_list")).all()
        return f"the file {os.path.realpath(next(file for _, name, file in files if name == 'main'))}"
    if connection.dialect.name in ("mysql", "mariadb"):
        return f"the MySQL database {connection.execute(text('SELECT DATABASE()')).scalar()}"
    return f"a database of another kind, {connection.dialect.name}"


class _Told:
    """What waits for the commit of one connection. The methods have the names of SQLAlchemy's events."""

    def __init__(self) -> None:
        self.calls: Calls = []
        #: how many calls there were at each savepoint that is open
        self._marks: list[int] = []

    def commit(self, _connection: Connection) -> None:
        due = self.calls
        self.rollback(_connection)
        for call in due:
            call()

    def rollback(self, _connection: Connection) -> None:
        self.calls, self._marks = [], []

    def savepoint(self, _connection: Connection, _name: str) -> None:
        self._marks.append(len(self.calls))

    def release_savepoint(self, _connection: Connection, _name: str, _context: object) -> None:
        self._last_mark()

    def rollback_savepoint(self, _connection: Connection, _name: str, _context: object) -> None:
        del self.calls[self._last_mark() :]

    def _last_mark(self) -> int:
        # a savepoint that is older than the first call is older than all of them
        return self._marks.pop() if self._marks else 0
