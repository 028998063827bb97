"""What we ask of every connection to a SQLite file."""

from __future__ import annotations

import sqlite3
import time
from contextlib import suppress
from typing import Any

from sqlalchemy import URL, Engine, event

from grid_async_task.adapters.sql.db_time import SQLITE_NOW, DatabaseClock, sqlite_now
from grid_async_task.adapters.sql.prepared import Check

#: seconds to wait for another writer
BUSY_TIMEOUT_S = 5.0


def connect_arguments(url: URL, answer_timeout_s: float) -> dict[str, Any]:
    return {"timeout": min(BUSY_TIMEOUT_S, answer_timeout_s)}


def set_up(engine: Engine, clock: DatabaseClock) -> Check:
    """Its clock is this host's, so there is nothing to learn about it, and it has no limit to check."""

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, record: Any) -> None:
        connection.create_function(SQLITE_NOW, 1, sqlite_now)
        _use_write_ahead_log(connection)
        # FULL: an acknowledgement stands for a commit that survives a power failure; NORMAL may lose the last ones
        connection.execute("PRAGMA synchronous=FULL")

    @event.listens_for(engine, "close")
    def end_transaction(connection: sqlite3.Connection, record: Any) -> None:
        # Closing alone does not: as long as a cursor is left, in the traceback of an error say, the file stays locked.
        with suppress(sqlite3.Error):
            connection.rollback()

    return lambda cursor, statement, parameters: None


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Readers and the writer do not stop each other. The file remembers it; the first to open it has to switch."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            # the switch fails at once where another process has the file open, busy timeout or not
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
