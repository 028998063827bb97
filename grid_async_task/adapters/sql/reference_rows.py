"""A row of version 1.0.10, and the row that it becomes.

A row is fit if its message would be accepted today: what is in the table could have been sent.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from sqlalchemy import DateTime, RowMapping, TableClause, column, table

from grid_async_task.adapters.sql.rows import message_values
from grid_async_task.domain.errors import RetryExhausted, ValidationError
from grid_async_task.domain.failure import shown
from grid_async_task.domain.json_text import NotJson, to_json
from grid_async_task.domain.message import InvalidMessage, MessageLimits, TaskMessage
from grid_async_task.domain.message_parsing import validate_message
from grid_async_task.domain.progress import Progress
from grid_async_task.domain.task import TaskStatus

#: version 1.0.10 kept no type of a failure
UNKNOWN_ERROR = "UnknownError"

_ANY_CALLBACK = MessageLimits(callback_types=None)

_PLAIN = (
    *("id", "task_id", "task_type", "status", "data", "result", "error_message", "progress", "progress_message"),
    *("retry_count", "max_retry_count", "callback_url", "callback_type", "callback_data"),
)
#: UTC, to the second
_TIMES = ("created_at", "updated_at", "started_at", "completed_at")
COLUMNS = (*_PLAIN, *_TIMES)


class Unfit(ValidationError):
    """The row can't be copied. The text says why."""


@dataclass(frozen=True)
class OldRow:
    """What was read; `values` are the columns of the row that it becomes."""

    id: int
    task_id: str
    #: as version 1.0.10 had it
    status: TaskStatus
    values: dict[str, Any]


def reference_table(name: str) -> TableClause:
    """JSON is read as text."""
    return table(name, *(column(name) for name in _PLAIN), *(column(name, DateTime()) for name in _TIMES))


def read_row(row: RowMapping, queue: str, now: datetime) -> OldRow:
    """Raises `Unfit`. `now` stands for a time that is owed and missing."""
    message = _message(row)
    status = _status(row["status"])
    attempts_failed = row["retry_count"] or 0
    progress = Progress.of(row["progress"] or 0, row["progress_message"])
    updated_at = _utc(row["updated_at"]) or _utc(row["created_at"]) or now
    values = {
        **message_values(message, queue),
        # An old running row can't be told from one that was lost, nor a retry that waits from one that starts:
        # all of them wait for their message.
        "status": (status if status.is_final else TaskStatus.PENDING).value,
        "attempt": attempts_failed + (status in (TaskStatus.RUNNING, TaskStatus.SUCCESS)),
        "retry_count": attempts_failed,
        "progress": progress.percent,
        "progress_message": progress.message,
        "result": _result(row, status),
        **_failure(row, status),
        "created_at": _utc(row["created_at"]) or updated_at,
        "updated_at": updated_at,
        "started_at": _utc(row["started_at"]),
        # without it a final row would never be pruned
        "completed_at": (_utc(row["completed_at"]) or updated_at) if status.is_final else None,
    }
    if not status.is_final:
        # version 1's producer put it into each message, and a published message has to equal the first one
        values["extra"] = to_json({"queue_name": queue})
    return OldRow(row["id"], message.task_id, status, values)


def _message(row: RowMapping) -> TaskMessage:
    plain = ("task_id", "task_type", "max_retry_count", "callback_url", "callback_type")
    document = {name: row[name] for name in plain}
    document.update({name: _json(row, name) for name in ("data", "callback_data")})
    try:
        return validate_message(document, _ANY_CALLBACK)
    except InvalidMessage as error:
        raise Unfit(str(error)) from None


def _status(value: str | None) -> TaskStatus:
    try:
        return TaskStatus.PENDING if value is None else TaskStatus(value)
    except ValueError:
        raise Unfit(f"status is {value!r}, which is no state of a task") from None


def _result(row: RowMapping, status: TaskStatus) -> str | None:
    value = _json(row, "result")
    if value is None:
        return to_json({}) if status is TaskStatus.SUCCESS else None
    try:
        return to_json(value if isinstance(value, dict) else {"data": value})
    except NotJson as error:
        raise Unfit(f"result: {error}") from None


def _failure(row: RowMapping, status: TaskStatus) -> dict[str, str | None]:
    text, most = row["error_message"], row["max_retry_count"] or 0
    # an error of an earlier attempt stays in a row of version 1 that has succeeded since
    if status is TaskStatus.SUCCESS or (text is None and status is not TaskStatus.FAILED):
        return {"error_type": None, "error_message": None, "error_cause": None}
    if status is TaskStatus.FAILED and 0 < most <= (row["retry_count"] or 0):
        kind, cause = RetryExhausted.__name__, UNKNOWN_ERROR
    else:
        kind, cause = UNKNOWN_ERROR, None
    return {"error_type": kind, "error_message": shown(text or ""), "error_cause": cause}


def _json(row: RowMapping, name: str) -> Any:
    text = row[name]
    try:
        # SQLite makes a number of a text that looks like one
        return None if text is None else json.loads(str(text))
    except (ValueError, RecursionError):
        raise Unfit(f"{name} is not JSON") from None


def _utc(moment: object) -> datetime | None:
    """Whatever is no time (MySQL's 0000-00-00) counts as missing."""
    return moment.replace(tzinfo=timezone.utc) if isinstance(moment, datetime) else None
