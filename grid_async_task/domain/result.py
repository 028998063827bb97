"""What a handler returned, as the table and the callback carry it."""

from __future__ import annotations

import json
from typing import Any

from grid_async_task.domain.errors import GridAsyncTaskError
from grid_async_task.domain.json_text import NotJson, to_json


class ResultNotStorable(GridAsyncTaskError):
    """The handler's result can't be stored: not JSON, or too large. Never retried, it would be the same again."""


def to_result(value: Any, max_bytes: int) -> dict[str, Any]:
    """An object as it is, nothing as `{}`, anything else as `{"data": value}` (SPEC section 5).

    The result is a copy in plain JSON types: the handler may go on changing its own.
    """
    if value is None:
        return {}
    try:
        text = to_json(value if isinstance(value, dict) else {"data": value})
    except NotJson as error:
        raise ResultNotStorable(f"the handler's result can't be stored as JSON: {error}") from None
    size = len(text.encode("utf-8"))
    if size > max_bytes:
        raise ResultNotStorable(
            f"the handler's result has {size} bytes, {max_bytes} are allowed (RESULT_MAX_BYTES); "
            "store it elsewhere and return a reference to it"
        )
    result: dict[str, Any] = json.loads(text)
    return result
