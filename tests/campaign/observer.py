"""Reads the table all the time, as somebody who trusts nobody: what is final has to stay as it is."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import pymysql

#: seconds between two looks
EVERY_S = 0.7
COLUMNS = (
    "id, status, attempt, result, error_type, retry_count, crash_count, "
    "callback_status, wake_at IS NOT NULL, completed_at"
)


@dataclass(frozen=True)
class Row:
    id: str
    status: str
    attempt: int
    #: JSON as it stands in the table
    result: str | None
    error_type: str | None
    retry_count: int
    crash_count: int
    callback_status: str | None
    #: something is still to be done for it
    is_due: bool
    completed_at: object

    @property
    def is_final(self) -> bool:
        return self.status in ("success", "failed")

    @property
    def ending(self) -> tuple[object, ...]:
        """What must never change once it is there."""
        return (self.status, self.attempt, self.result, self.error_type, self.completed_at)


class Observer:
    def __init__(self, connect: Callable[[], pymysql.Connection[pymysql.cursors.Cursor]], table: str) -> None:
        self._connect = connect
        self._table = table
        self.rows: dict[str, Row] = {}
        #: (task, when it was seen, before, after): a final row that was not the same at the next look
        self.changes: list[tuple[str, float, Row, Row]] = []
        self.looks = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="observer")

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stopping.set()
        self._thread.join()

    def look(self) -> None:
        """Raises `pymysql.MySQLError`."""
        connection = self._connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT {COLUMNS} FROM {self._table}")
                rows = [Row(*values) for values in cursor.fetchall()]
        finally:
            connection.close()
        self.looks += 1
        for row in rows:
            before = self.rows.get(row.id)
            if before is not None and before.is_final and before.ending != row.ending:
                self.changes.append((row.id, time.monotonic(), before, row))
            self.rows[row.id] = row

    def _run(self) -> None:
        while not self._stopping.wait(EVERY_S):
            # the table is not made yet, or the monkey was there
            with contextlib.suppress(pymysql.MySQLError, OSError):
                self.look()
