"""A database and its connections: one round trip for one statement, and errors in the words of the port."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Executable, RowMapping, create_engine
from sqlalchemy.exc import SQLAlchemyError

from grid_async_task.adapters.sql import mysql_session, sqlite_session
from grid_async_task.adapters.sql.database_url import read_url
from grid_async_task.adapters.sql.db_time import DatabaseClock
from grid_async_task.adapters.sql.errors import (
    INTEGRITY_ERRORS,
    LIBRARY_ERRORS,
    breaks_the_connection,
    is_duplicate,
    translated,
)
from grid_async_task.adapters.sql.prepared import Prepared, Verbatim
from grid_async_task.domain.errors import GridAsyncTaskError
from grid_async_task.ports.errors import DataRefused

#: key of a connection's `info`: since when we have known it
_SINCE = "grid_async_task.since"

Values = Mapping[str, Any]


class Database:
    """Connects on first use. May be used by several threads, each call by its own connection."""

    def __init__(
        self,
        url: str,
        *,
        pool_size: int,
        max_overflow: int,
        pool_timeout_s: float,
        pool_recycle_s: float,
        answer_timeout_s: float,
    ) -> None:
        self.url = read_url(url)
        self.clock = DatabaseClock()
        #: seconds after which a server that says nothing counts as away
        self.answer_timeout_s = answer_timeout_s
        #: whether it has ever done what it was asked: from then on nothing is an error of the configuration
        self.has_worked = False
        self._recycle_s = pool_recycle_s
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._waiting = 0
        self._prepared: dict[Executable, Prepared] = {}
        session = mysql_session if self.is_mysql else sqlite_session
        self._engine = create_engine(
            self.url,
            # Single statements, each its own transaction, and nothing sent around them: no ping, no ROLLBACK.
            isolation_level="AUTOCOMMIT",
            skip_autocommit_rollback=True,
            pool_reset_on_return=None,
            pool_size=pool_size,
            max_overflow=max_overflow,
            pool_timeout=pool_timeout_s,
            pool_recycle=int(pool_recycle_s),
            # parameters are the users' data: they have no place in errors and logs
            hide_parameters=True,
            connect_args=session.connect_arguments(self.url, answer_timeout_s),
        )
        self._check = session.set_up(self._engine, self.clock)

    @property
    def is_mysql(self) -> bool:
        return self.url.drivername.startswith("mysql")

    def write(self, statement: Executable | str, values: Values | Sequence[Any]) -> int:
        """How many rows matched. Either compiled once, and the same object comes each time, or MySQL's own text."""
        prepared = self._prepared_for(statement)
        with self._cursor() as cursor:
            matched = prepared.run(cursor, values)
        self.has_worked = True
        return matched

    def insert(self, statement: Executable | str, values: Values | Sequence[Any]) -> bool:
        """The same; False where a row with this key exists."""
        prepared = self._prepared_for(statement)
        with self._cursor() as cursor:
            try:
                prepared.run(cursor, values)
            except INTEGRITY_ERRORS as error:
                if not is_duplicate(error):
                    raise
                return False
        self.has_worked = True
        return True

    def write_many(self, statement: Executable, rows: Sequence[Values]) -> None:
        """On MySQL as a few multi-row statements, on SQLite in one transaction: one wait for the disk, not many."""
        with self.connected() if self.is_mysql else self.transaction() as connection:
            connection.execute(statement, rows)
        self.has_worked = True

    def rows(self, statement: Executable, values: Values) -> Sequence[RowMapping]:
        with self.connected() as connection:
            rows = connection.execute(statement, values).mappings().all()
        self.has_worked = True
        return rows

    def _prepared_for(self, statement: Executable | str) -> Prepared | Verbatim:
        if isinstance(statement, str):
            return Verbatim(statement, self._check)
        prepared = self._prepared.get(statement)
        if prepared is None:
            with self.connected():  # which finds out what the dialect has to know about its server
                prepared = self._prepared[statement] = Prepared(statement, self._engine.dialect, self._check)
        return prepared

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        """The driver's own, for one statement."""
        with self.connected() as connection:
            cursor = connection.connection.cursor()
            try:
                yield cursor
            finally:
                cursor.close()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Several statements, all or nothing."""
        with self.connected() as connection:
            connection.exec_driver_sql("BEGIN" if self.is_mysql else "BEGIN IMMEDIATE")
            try:
                yield connection
                connection.exec_driver_sql("COMMIT")
            except BaseException:
                # closing it rolls back, whatever state it is in
                connection.invalidate()
                raise

    @contextmanager
    def connected(self) -> Iterator[Connection]:
        """A connection for a few statements; turns what they raise into the port's errors."""
        try:
            connection = self._take()
            try:
                yield connection
            except (SQLAlchemyError, DataRefused) as error:
                # Asked here, not by SQLAlchemy's event `handle_error`: its inspector switches that off for good.
                if breaks_the_connection(error):
                    connection.invalidate()
                connection.close()
                raise
            except BaseException:
                # a time limit or a stop signal may have struck in the middle of an answer
                connection.invalidate()
                connection.close()
                raise
            self._give_back(connection)
        except GridAsyncTaskError:
            raise
        except LIBRARY_ERRORS as error:
            raise translated(error, has_worked=self.has_worked) from error

    def _take(self) -> Connection:
        """The connection that was used last, still checked out of the pool: in and out cost as much as a statement."""
        with self._lock:
            if self._idle:
                connection = self._idle.pop()
                is_young = time.monotonic() - connection.info.setdefault(_SINCE, time.monotonic()) < self._recycle_s
                if is_young:
                    return connection
                connection.close()  # the pool replaces it
            self._waiting += 1
        try:
            return self._engine.connect()
        finally:
            with self._lock:
                self._waiting -= 1

    def _give_back(self, connection: Connection) -> None:
        with self._lock:
            if not self._waiting:
                self._idle.append(connection)
                return
        connection.close()  # somebody waits at the pool

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
        self._engine.dispose()
