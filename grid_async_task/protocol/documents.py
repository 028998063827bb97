"""The documents by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from grid_async_task.protocol.asyncapi import asyncapi
from grid_async_task.protocol.callback_schema import callback_schema
from grid_async_task.protocol.message_schema import message_schema
from grid_async_task.protocol.progress_schema import progress_schema


@dataclass(frozen=True)
class Document:
    file_name: str
    make: Callable[[], dict[str, Any]]

    @property
    def text(self) -> str:
        """Always the same for the same code, so that a difference in the file is a difference in the protocol."""
        return json.dumps(self.make(), ensure_ascii=False, indent=2) + "\n"


DOCUMENTS = {
    "message": Document("message.schema.json", message_schema),
    "callback": Document("callback.schema.json", callback_schema),
    "progress": Document("progress.schema.json", progress_schema),
    "asyncapi": Document("asyncapi.json", asyncapi),
}
