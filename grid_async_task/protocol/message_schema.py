"""JSON Schema of a task's message: what producers in any language can check before they send."""

from __future__ import annotations

from typing import Any

from grid_async_task.domain.json_text import MAX_DEPTH
from grid_async_task.domain.message import (
    DEFAULT_CALLBACK_QUEUE,
    DEFAULT_CALLBACK_TYPE,
    DEFAULT_TASK_TYPE,
    MAX_QUEUE_NAME_BYTES,
    MAX_RETRY_COUNT,
    MAX_TYPE_CHARACTERS,
    MAX_URL_CHARACTERS,
    TICKET_FIELD,
    MessageLimits,
)
from grid_async_task.protocol.texts import CONTROL, DIALECT, task_id

#: what a worker refuses and a JSON Schema can't express, by a word for it
BEYOND_SCHEMA = {
    "size": f"a body has at most {MessageLimits().max_bytes} bytes (MESSAGE_MAX_BYTES), and a schema sees no bytes",
    "text": "the body is UTF-8 without a byte order mark, and a schema begins behind the decoding",
    "depth": f"objects and arrays may be nested {MAX_DEPTH} levels deep, and a schema can't count levels",
    "numbers": "numbers must fit a double (no 1e400), and JSON itself knows no such limit",
    "whole numbers": "3.0 is no whole number for a worker, and it is one for a schema",
    "surrogates": "half of a surrogate pair (\\ud800 alone) is no text, and regular expressions differ on it",
    "callback types": "a worker refuses the name of a sink that it does not have, and each worker has its own",
    "queue names": f"a queue's name has at most {MAX_QUEUE_NAME_BYTES} bytes, and a schema counts characters",
    "hosts": "an IP address in square brackets has to be one, and a host may not hold what looks like a / or a :",
}

_PORT = r"0*(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_HOST = r"(?:\[[^\]\[@/?#]+\]|[^/?#@:\[\]]+)"
_URL = rf"[Hh][Tt][Tt][Pp][Ss]?://(?:[^/?#\[\]]*@)?{_HOST}(?::(?:{_PORT})?)?(?:[/?#][\s\S]*)?"


def message_schema() -> dict[str, Any]:
    return {
        "$schema": DIALECT,
        "title": "Task message",
        "description": "A JSON object on a durable queue. null means absent. Unknown fields are handed to the handler.",
        "$comment": "Checked by a worker besides: " + "; ".join(BEYOND_SCHEMA.values()) + ".",
        "type": "object",
        "required": ["task_id"],
        "properties": _fields(),
        "allOf": [
            {
                "$comment": "retry_count counts only where max_retry_count is absent",
                "if": {"properties": {"max_retry_count": {"type": "null"}}},
                "then": {"properties": {"retry_count": _retries()}},
            },
            {
                "$comment": "the reply queue of a rabbitmq callback",
                "if": {"required": ["callback_type"], "properties": {"callback_type": {"const": "rabbitmq"}}},
                "then": {"properties": {"callback_data": {"properties": {"queue_name": _reply_queue()}}}},
            },
        ],
        "examples": [
            {"task_id": "order-4711"},
            {
                "task_id": "order-4711",
                "task_type": "report",
                "data": {"pages": 12},
                "max_retry_count": 3,
                "callback_url": "https://example.com/hook",
                "callback_data": {"order": 4711},
            },
        ],
    }


def _fields() -> dict[str, Any]:
    return {
        "task_id": task_id(),
        "task_type": {
            "type": ["string", "null"],
            "description": 'Business category; "" means absent.',
            "maxLength": MAX_TYPE_CHARACTERS,
            "default": DEFAULT_TASK_TYPE,
        },
        "data": _object("Input of the task."),
        "max_retry_count": {
            **_retries(),
            "description": "Retries after the first attempt: 3 means up to 4 executions. Absent: the worker's setting.",
        },
        "retry_count": {"description": "Another name of max_retry_count, which wins where both stand."},
        "callback_url": {
            "type": ["string", "null"],
            "description": 'Where to POST the callback; "" means absent.',
            "maxLength": MAX_URL_CHARACTERS,
            "pattern": rf"^(?![\s\S]*[{CONTROL} ])(?:{_URL})?$",
        },
        "callback_type": {
            "type": ["string", "null"],
            "description": 'http, rabbitmq, or the name of a sink that the workers of the queue have; "" means absent.',
            "maxLength": MAX_TYPE_CHARACTERS,
            "default": DEFAULT_CALLBACK_TYPE,
        },
        "callback_data": _object("Echoed back in the callback. queue_name in it names the reply queue for rabbitmq."),
        TICKET_FIELD: {
            "description": "Reserved: with true, the message is no task but only points at one.",
            "not": {"const": True},
        },
    }


def _object(description: str) -> dict[str, Any]:
    return {
        "type": ["object", "array", "null"],
        "description": f"{description} An empty array means an empty object (PHP).",
        "maxItems": 0,
        "default": {},
    }


def _retries() -> dict[str, Any]:
    return {"type": ["integer", "null"], "minimum": 0, "maximum": MAX_RETRY_COUNT}


def _reply_queue() -> dict[str, Any]:
    return {"type": ["string", "null"], "maxLength": MAX_QUEUE_NAME_BYTES, "default": DEFAULT_CALLBACK_QUEUE}
