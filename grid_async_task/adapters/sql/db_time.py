"""The database's clock: inside statements the only one there is, outside of them a good guess at it."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from typing import Any

from sqlalchemy import BigInteger, FunctionElement, bindparam
from sqlalchemy.ext.compiler import compiles

from grid_async_task.adapters.sql.column_types import UtcDateTime

#: the function that SQLite, which counts in milliseconds, is given
SQLITE_NOW = "grid_async_task_now"

MICROSECOND = timedelta(microseconds=1)


class db_now(FunctionElement[datetime]):  # noqa: N801 - it reads as a SQL function
    """The database's time in UTC, plus the microseconds of a bound value. NULL where that value is NULL."""

    inherit_cache = True
    type = UtcDateTime()
    name = "db_now"

    def __init__(self, offset_us: str | None = None) -> None:
        """`offset_us` names the bound value."""
        super().__init__(*([] if offset_us is None else [bindparam(offset_us, type_=BigInteger())]))


@compiles(db_now, "mysql", "mariadb")
def _now_on_mysql(element: db_now, compiler: Any, **kw: Any) -> str:
    if not len(element.clauses):
        return "UTC_TIMESTAMP(6)"
    return f"TIMESTAMPADD(MICROSECOND, {compiler.process(element.clauses, **kw)}, UTC_TIMESTAMP(6))"


@compiles(db_now, "sqlite")
def _now_on_sqlite(element: db_now, compiler: Any, **kw: Any) -> str:
    return f"{SQLITE_NOW}({compiler.process(element.clauses, **kw) or '0'})"


def sqlite_now(offset_us: int | None) -> str | None:
    """What `SQLITE_NOW` does. Always the same number of digits, so that texts compare as the moments do."""
    if offset_us is None:
        return None
    return (datetime.now(timezone.utc) + offset_us * MICROSECOND).strftime("%Y-%m-%d %H:%M:%S.%f")


class default_now(FunctionElement[datetime]):  # noqa: N801 - it reads as a SQL function
    """The time in UTC as the default of a column; an expression that needs no function of ours."""

    inherit_cache = True
    type = UtcDateTime()
    name = "default_now"


@compiles(default_now, "mysql")
def _default_on_mysql(element: default_now, compiler: Any, **kw: Any) -> str:
    return "(UTC_TIMESTAMP(6))"


@compiles(default_now, "sqlite")
def _default_on_sqlite(element: default_now, compiler: Any, **kw: Any) -> str:
    return "(strftime('%Y-%m-%d %H:%M:%f', 'now') || '000')"


def microseconds(delay: timedelta) -> int:
    return delay // MICROSECOND


class DatabaseClock:
    """What the database's clock says about now, guessed from when it was read last.

    Only for the times in a `Task` that was just written: the row has the true ones, and
    every condition is judged by the database itself.
    """

    def __init__(self) -> None:
        self._read = (datetime.now(timezone.utc), time.monotonic())

    def was_read(self, now: datetime) -> None:
        self._read = (now, time.monotonic())

    def now(self) -> datetime:
        moment, then = self._read
        return moment + timedelta(seconds=time.monotonic() - then)
