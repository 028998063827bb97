"""JSON Schema of a callback's body, by HTTP and by reply queue alike."""

from __future__ import annotations

from typing import Any

from grid_async_task.domain.errors import RetryExhausted
from grid_async_task.domain.failure import MAX_TYPE_CHARACTERS
from grid_async_task.domain.task import TaskStatus
from grid_async_task.protocol.texts import DIALECT, task_id, wire_time


def callback_schema() -> dict[str, Any]:
    failed = TaskStatus.FAILED.value
    return {
        "$schema": DIALECT,
        "title": "Callback",
        "description": "Sent at least once for the final state of a task that asked for it. Repeats have identical"
        " bodies and the same id: the HTTP header webhook-id, the message_id of an AMQP message.",
        "type": "object",
        "required": ["task_id", "status", "result", "timestamp", "callback_data"],
        "properties": {
            "task_id": task_id(),
            "status": {"enum": [status.value for status in TaskStatus if status.is_final]},
            "result": {
                "type": "object",
                "description": "On success what the handler returned: an object as it is, anything else as"
                ' {"data": value}, nothing as {}. On failure the error.',
            },
            "timestamp": wire_time("When the task reached its final state."),
            "callback_data": {"type": "object", "description": "As the message gave it."},
        },
        "if": {"properties": {"status": {"const": failed}}},
        "then": {"properties": {"result": _failure()}},
        "examples": [
            {
                "task_id": "order-4711",
                "status": TaskStatus.SUCCESS.value,
                "result": {"pages": 12},
                "timestamp": "2024-01-15T10:30:00Z",
                "callback_data": {"order": 4711},
            },
            {
                "task_id": "order-4711",
                "status": failed,
                "result": {"error": "no such page", "error_type": RetryExhausted.__name__, "cause": "LookupError"},
                "timestamp": "2024-01-15T10:30:00Z",
                "callback_data": {},
            },
        ],
    }


def _failure() -> dict[str, Any]:
    return {
        "required": ["error", "error_type"],
        "properties": {
            "error": {"type": "string", "description": "A text for people; no traceback, no passwords."},
            "error_type": {
                "type": "string",
                "maxLength": MAX_TYPE_CHARACTERS,
                "description": "ValidationError, TimeoutError, ConnectionError, TaskCancelled, WorkerLost, Discard,"
                f" {RetryExhausted.__name__}, or the name of the exception's class.",
            },
            "cause": {
                "type": "string",
                "maxLength": MAX_TYPE_CHARACTERS,
                "description": f"With {RetryExhausted.__name__}: the type that the failure would have had.",
            },
        },
    }
