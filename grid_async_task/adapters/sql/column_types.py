"""Column types that mean the same on every database."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from sqlalchemy import DateTime
from sqlalchemy.dialects.mysql import DATETIME, ENUM, LONGTEXT, TEXT
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.types import Enum, Text, TypeDecorator, TypeEngine, UserDefinedType


class JsonText(UserDefinedType[str]):
    """JSON, given and received as text: how a value is written is the domain's business.

    `LONGTEXT` on MariaDB, whose own JSON type adds a check that refuses 32 levels of nesting.
    """

    cache_ok = True

    def get_col_spec(self, **kw: Any) -> str:
        return "TEXT"


@compiles(JsonText, "mysql")
def _json_on_mysql(element: JsonText, compiler: Any, **kw: Any) -> str:
    if compiler.dialect.is_mariadb:
        return "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
    return "JSON"


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC, to the microsecond. Never TIMESTAMP, which shifts with the session's zone and ends in 2038."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(DATETIME(fsp=6) if dialect.name == "mysql" else DateTime())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(timezone.utc).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=timezone.utc)


def long_text() -> TypeEngine[str]:
    """A text without a limit worth mentioning (4 GiB)."""
    return Text().with_variant(LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql")


def error_text() -> TypeEngine[str]:
    """A text of at most 65,535 bytes."""
    return Text().with_variant(TEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql")


def one_of(*values: str) -> TypeEngine[str]:
    """ENUM where there is one."""
    return Enum(*values, native_enum=False, length=20).with_variant(
        ENUM(*values, charset="utf8mb4", collation="utf8mb4_bin"), "mysql"
    )
