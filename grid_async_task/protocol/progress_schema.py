"""JSON Schema of the answer to "how far is it?": `status ID --json` and `TaskClient.get_progress`."""

from __future__ import annotations

from typing import Any

from grid_async_task.domain.progress import MAX_MESSAGE_CHARACTERS
from grid_async_task.domain.task import TaskStatus
from grid_async_task.protocol.texts import DIALECT, task_id, wire_time


def progress_schema() -> dict[str, Any]:
    changed = wire_time("When the row was last written.")
    return {
        "$schema": DIALECT,
        "title": "Progress",
        "description": "How far a task has come. Programs may find further fields beside these.",
        "type": "object",
        "required": ["task_id", "progress", "progress_message", "status", "updated_at"],
        "properties": {
            "task_id": task_id(),
            "progress": {"type": "integer", "minimum": 0, "maximum": 100, "description": "Percent; 100 on success."},
            "progress_message": {"type": "string", "maxLength": MAX_MESSAGE_CHARACTERS},
            "status": {"enum": [status.value for status in TaskStatus]},
            "updated_at": {**changed, "type": ["string", "null"]},
        },
        "examples": [
            {
                "task_id": "order-4711",
                "progress": 75,
                "progress_message": "page 9 of 12",
                "status": TaskStatus.RUNNING.value,
                "updated_at": "2024-01-15T10:30:00Z",
            }
        ],
    }
