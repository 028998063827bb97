"""A row and the task it stands for."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import RowMapping

from grid_async_task.domain.failure import Failure
from grid_async_task.domain.json_text import to_json
from grid_async_task.domain.message import CallbackRequest, TaskMessage
from grid_async_task.domain.progress import Progress
from grid_async_task.domain.task import CallbackStatus, Task, TaskStatus


def to_task(row: RowMapping, checkpoint_json: str | None = None) -> Task:
    return Task(
        id=row["id"],
        queue=row["queue"],
        status=TaskStatus(row["status"]),
        task_type=row["task_type"],
        data=_object(row["data"]),
        extra=_object(row["extra"]),
        max_retry_count=row["max_retry_count"],
        callback=CallbackRequest(row["callback_url"], row["callback_type"], _object(row["callback_data"])),
        attempt=row["attempt"],
        owner=row["owner"],
        wake_at=row["wake_at"],
        retry_count=row["retry_count"],
        crash_count=row["crash_count"],
        grouped=row["grouped"],
        cancel_requested=row["cancel_requested"],
        progress=Progress(row["progress"], row["progress_message"]),
        checkpoint=None if checkpoint_json is None else json.loads(checkpoint_json),
        result=None if row["result"] is None else _object(row["result"]),
        failure=_failure(row),
        callback_status=None if row["callback_status"] is None else CallbackStatus(row["callback_status"]),
        callback_attempts=row["callback_attempts"],
        callback_failures=row["callback_failures"],
        sweep_count=row["sweep_count"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        started_at=row["started_at"],
        completed_at=row["completed_at"],
    )


def _object(text: str | None) -> dict[str, Any]:
    value: dict[str, Any] = {} if text is None else json.loads(text)
    return value


def _failure(row: RowMapping) -> Failure | None:
    if row["error_type"] is None:
        return None
    return Failure(row["error_type"], row["error_message"] or "", retryable=False, cause=row["error_cause"])


def message_values(message: TaskMessage, queue: str) -> dict[str, Any]:
    """The columns that a message fills, and that stay as they are from then on."""
    return {
        "id": message.task_id,
        "queue": queue,
        "task_type": message.task_type,
        "data": _stored(message.data),
        "extra": _stored(message.extra),
        "max_retry_count": message.max_retry_count,
        "callback_url": message.callback.url,
        "callback_type": message.callback.type,
        "callback_data": _stored(message.callback.data),
    }


def outcome_values(task: Task) -> dict[str, Any]:
    """The columns that say how an attempt or the whole task ended."""
    failure = task.failure
    return {
        "result": None if task.result is None else to_json(task.result),
        "error_type": failure and failure.error_type,
        "error_message": failure and failure.message,
        "error_cause": failure and failure.cause,
        "callback_status": task.callback_status and task.callback_status.value,
        "callback_attempts": task.callback_attempts,
    }


def _stored(value: dict[str, Any]) -> str | None:
    return to_json(value) if value else None
