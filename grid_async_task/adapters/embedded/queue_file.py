"""The SQLite file that holds the queues: its tables, and transactions on it."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from grid_async_task.domain.errors import ConfigurationError
from grid_async_task.ports.errors import BrokerUnavailable

_URL_START = "sqlite:///"
#: seconds to wait for another process's transaction
BUSY_TIMEOUT_S = 5.0

REGISTER_QUEUE = "INSERT OR IGNORE INTO grid_async_task_queues (name) VALUES (?)"

_TABLES = (
    """CREATE TABLE IF NOT EXISTS grid_async_task_queues (
        name TEXT PRIMARY KEY
    )""",
    # AUTOINCREMENT: an id never comes back, so that a stale receipt can't mean a newer message.
    # Times are seconds since 1970 with fractions, by the one clock that all processes of a machine share.
    """CREATE TABLE IF NOT EXISTS grid_async_task_messages (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        queue TEXT NOT NULL,
        body BLOB NOT NULL,
        headers TEXT NOT NULL,
        properties TEXT NOT NULL,
        due_at REAL NOT NULL,
        leased_by TEXT,
        leased_until REAL NOT NULL DEFAULT 0,
        delivery_count INTEGER NOT NULL DEFAULT 0
    )""",
    """CREATE INDEX IF NOT EXISTS grid_async_task_messages_due
        ON grid_async_task_messages (queue, due_at, id)""",
)


class QueueFile:
    """One connection to the file, opened on first use and anew after an error. May be shared by threads.

    Raises `BrokerUnavailable` where waiting may help (locked, disk full), and
    `ConfigurationError` where only a person can (no such folder, no rights, not a database).
    """

    def __init__(self, path_or_url: str | os.PathLike[str]) -> None:
        self.path = _path(path_or_url)
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """For single questions. Takes no lock that anybody would have to wait for."""
        with self._lock, self._translated_errors():
            yield self._connected()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction, the only one on the file while it lasts. Once it is committed it survives a power cut."""
        with self._lock:
            with self._translated_errors():
                db = self._connected()
                # IMMEDIATE: what is read in it can't have changed by the time it is written
                _once_unlocked(db, "BEGIN IMMEDIATE")
            try:
                with self._translated_errors():
                    yield db
                # not even SQLite knows what a failed commit has left on the disk
                with self._translated_errors(maybe_sent=True):
                    db.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise

    def close(self) -> None:
        with self._lock:
            self._disconnect()

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._open()
        return self._connection

    def _open(self) -> sqlite3.Connection:
        self._require_usable_path()
        # isolation_level None: transactions begin where this module says so
        db = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        try:
            # readers and the one writer then do not wait for each other; the mode stays with the file
            _once_unlocked(db, "PRAGMA journal_mode=WAL")
            # FULL: a commit reaches the disk before it returns, so that a confirmed message survives a power cut.
            # In WAL mode the default, NORMAL on some builds, would only promise that for a crash of the process.
            db.execute("PRAGMA synchronous=FULL")
            if not _has_tables(db):
                _once_unlocked(db, "BEGIN IMMEDIATE")
                for statement in _TABLES:
                    db.execute(statement)
                db.execute("COMMIT")
        except BaseException:
            db.close()
            raise
        return db

    def _require_usable_path(self) -> None:
        folder = self.path.parent
        if not folder.is_dir():
            raise ConfigurationError(f"the queue file {self.path} can't be made: there is no folder {folder}")
        place = self.path if self.path.exists() else folder
        if not os.access(place, os.R_OK | os.W_OK):
            raise ConfigurationError(f"the queue file {self.path} can't be used: no right to read and write {place}")

    @contextmanager
    def _translated_errors(self, *, maybe_sent: bool = False) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            self._disconnect()
            raise BrokerUnavailable(f"the queue file {self.path}: {error}", maybe_sent=maybe_sent) from error
        except sqlite3.DatabaseError as error:
            self._disconnect()
            if type(error) is not sqlite3.DatabaseError:
                raise
            # the bare class means: not a database, or a broken one
            raise ConfigurationError(f"the queue file {self.path} can't be used: {error}") from error

    def _roll_back(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")

    def _disconnect(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            with suppress(sqlite3.Error):
                connection.close()


def _path(path_or_url: str | os.PathLike[str]) -> Path:
    text = os.fspath(path_or_url)
    if text.startswith(_URL_START):
        text = text[len(_URL_START) :]
    elif "://" in text:
        raise ConfigurationError("the embedded queue needs the path of a file, or sqlite:///FILE")
    # absolute: a later change of the working directory must not change the queue
    return Path(text).absolute()


def _once_unlocked(db: sqlite3.Connection, statement: str) -> None:
    """Execute it as soon as no other process is in the way, within `BUSY_TIMEOUT_S`.

    SQLite's own wait does not cover the switch to WAL, and looks only every tenth of a second: among others who
    write without a pause it finds no gap.
    """
    give_up_at = time.monotonic() + BUSY_TIMEOUT_S
    db.execute("PRAGMA busy_timeout=0")
    try:
        while True:
            try:
                db.execute(statement)
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > give_up_at:
                    raise
                time.sleep(0.001)
    finally:
        db.execute(f"PRAGMA busy_timeout={int(BUSY_TIMEOUT_S * 1000)}")


def _has_tables(db: sqlite3.Connection) -> bool:
    found = db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'grid_async_task_messages_due'").fetchone()
    return bool(found[0])
