"""What we ask of every session on MySQL and MariaDB."""

from __future__ import annotations

from datetime import timezone
from typing import Any

from sqlalchemy import URL, Engine, event

from grid_async_task.adapters.sql.db_time import DatabaseClock
from grid_async_task.adapters.sql.prepared import Check
from grid_async_task.ports.errors import DataRefused

_CONNECT_ARGUMENTS: dict[str, Any] = {
    # whatever the URL says: texts are any text
    "charset": "utf8mb4",
    "autocommit": True,
    # Strict: a value that does not fit is an error, not cut off. A lock is waited for 1 s, not 50: who holds it
    # that long may be away, and the caller tries again anyway.
    "init_command": "SET SESSION innodb_lock_wait_timeout=1, sql_mode='STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION'",
}

#: characters, and how many of them fit into any packet
SMALL_TEXT, FEW_TEXTS = 2_000, 30
#: bytes of one multi-row INSERT that PyMySQL aims at
MULTI_ROW_BYTES = 1_000_000


def connect_arguments(url: URL, answer_timeout_s: float) -> dict[str, Any]:
    # PyMySQL would encode a password as Latin-1, which has no letters for most of the world
    password = {} if url.password is None else {"password": url.password.encode("utf-8")}
    timeouts = {
        "connect_timeout": min(5.0, answer_timeout_s),
        "read_timeout": answer_timeout_s,
        "write_timeout": answer_timeout_s,
    }
    return {**_CONNECT_ARGUMENTS, **timeouts, **password}


def set_up(engine: Engine, clock: DatabaseClock) -> Check:
    """Learn the server's clock and its limit at each connection, and keep to the limit: the check is for that."""
    limits = {"packet": 2**30}

    @event.listens_for(engine, "connect")
    def ask(connection: Any, record: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT @@max_allowed_packet, UTC_TIMESTAMP(6)")
            limits["packet"], now = cursor.fetchone()
        clock.was_read(now.replace(tzinfo=timezone.utc))

    def check(cursor: Any, statement: str, parameters: Any) -> None:
        # A server answers a larger packet by closing the connection, which would look like an outage for ever.
        if _is_small(parameters) or _longest(statement, parameters) <= limits["packet"]:
            return
        size = len(cursor.mogrify(statement, parameters).encode("utf-8")) + 1
        if size > limits["packet"]:
            raise DataRefused(f"a statement of {size} bytes; max_allowed_packet of the server is {limits['packet']}")

    @event.listens_for(engine, "before_cursor_execute")
    def check_all(
        connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
    ) -> None:
        cursor.max_stmt_length = min(MULTI_ROW_BYTES, limits["packet"] // 2)
        for row in parameters if executemany else (parameters,):
            check(cursor, statement, row)

    return check


def _is_small(parameters: Any) -> bool:
    """As nearly every statement is: no single text is worth measuring."""
    values = parameters.values() if isinstance(parameters, dict) else parameters
    return len(values) <= FEW_TEXTS and not any(type(value) is str and len(value) > SMALL_TEXT for value in values)


def _longest(statement: str, parameters: Any) -> int:
    """No fewer bytes than the statement will have: a character has at most 4, also when it is escaped."""
    values = parameters.values() if isinstance(parameters, dict) else parameters
    texts = sum(len(value) if isinstance(value, str) else 40 for value in values)
    return 4 * (len(statement) + texts) + 2 * len(parameters)
