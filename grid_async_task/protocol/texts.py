"""Parts that several schemas share."""

from __future__ import annotations

from typing import Any

from grid_async_task.domain.message import MAX_ID_CHARACTERS

#: the dialect that AsyncAPI and most validators read
DIALECT = "http://json-schema.org/draft-07/schema#"

#: regular expressions name characters by number, so that Python and JavaScript read them alike
CONTROL = r"\u0000-\u001f\u007f-\u009f"
#: white space beyond the control characters
BLANK = r"\u0020\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"


def task_id() -> dict[str, Any]:
    return {
        "type": "string",
        "description": "Unique id of the task, case-sensitive; no white space around it, no control characters.",
        "minLength": 1,
        "maxLength": MAX_ID_CHARACTERS,
        # `$` also matches before a last line break in Python; the look-ahead has ruled that out
        "pattern": rf"^(?![\s\S]*[{CONTROL}])[^{BLANK}](?:[\s\S]*[^{BLANK}])?$",
    }


def wire_time(description: str) -> dict[str, Any]:
    return {
        "type": "string",
        "description": f"{description} UTC, whole seconds.",
        "format": "date-time",
        "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$",
        "examples": ["2024-01-15T10:30:00Z"],
    }
