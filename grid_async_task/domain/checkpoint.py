"""What a handler saves on its way."""

from __future__ import annotations

from typing import Any

from grid_async_task.domain.errors import ValidationError
from grid_async_task.domain.json_text import NotJson, to_json


def to_checkpoint(value: Any) -> str:
    """As JSON text; raises `ValidationError` for what has none."""
    try:
        return to_json(value)
    except NotJson as error:
        raise ValidationError(f"a checkpoint has to be JSON: {error}") from None
