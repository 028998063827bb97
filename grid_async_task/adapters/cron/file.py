from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from grid_async_task.adapters.cron.schedule import CronSchedule
from grid_async_task.application.preparation import work_queue_name
from grid_async_task.domain.errors import ConfigurationError, ValidationError
from grid_async_task.domain.message import MAX_ID_CHARACTERS, MessageLimits
from grid_async_task.domain.message_parsing import validate_message
from grid_async_task.ports.recurring import RecurringTask

FIELDS = {"schedule", "time_zone", "queue", "task"}
#: `@` and a time follow the name in an id
MAX_NAME_CHARACTERS = MAX_ID_CHARACTERS - len("@2024-01-15T10:30:00Z")


def read_recurring(path: str) -> list[RecurringTask]:
    """The recurring tasks of a YAML (or JSON) file. Raises `ConfigurationError` that names the task and the cure."""
    try:
        content = _Loader(Path(path).read_text(encoding="utf-8")).get_single_data()
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"RECURRING: {path} can't be read: {error}") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"RECURRING: {path} has to hold a name and its task for each recurring task")
    tasks = []
    for name, entry in content.items():
        try:
            tasks.append(_task(name, entry))
        except (ValueError, ValidationError) as error:
            raise ConfigurationError(f"RECURRING: {path}, {name!r}: {error}") from error
    return tasks


class _Loader(yaml.SafeLoader):
    """Safe as its parent, and it says where a name stands twice: the first would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value]
        if twice := sorted({str(name) for name in names if names.count(name) > 1}):
            raise yaml.YAMLError(f"{', '.join(twice)} stands there twice (line {node.start_mark.line + 1} and below)")
        return super().construct_mapping(node, deep)


def _task(name: Any, entry: Any) -> RecurringTask:
    if not isinstance(name, str) or len(name) > MAX_NAME_CHARACTERS:
        raise ValueError(f"a name is a text of at most {MAX_NAME_CHARACTERS} characters")
    if not isinstance(entry, dict) or not isinstance(entry.get("schedule"), str) or not entry.get("queue"):
        raise ValueError("it needs a schedule (a text) and a queue")
    if unknown := sorted(map(str, entry.keys() - FIELDS)):
        raise ValueError(f"unknown: {', '.join(unknown)}; allowed are {', '.join(sorted(FIELDS))}")
    task = entry.get("task") or {}
    if not isinstance(task, dict) or "task_id" in task:
        raise ValueError("task is an object as in a message, without a task_id: that is made of name and time")
    limits = MessageLimits(callback_types=None)
    template = validate_message({**task, "task_id": name}, limits)
    if (size := len(template.to_body())) > limits.max_bytes:
        raise ValueError(f"task has {size} bytes as JSON; send a reference to the data instead of the data")
    schedule = CronSchedule(entry["schedule"], str(entry.get("time_zone") or "UTC"))
    return RecurringTask(name, work_queue_name(entry["queue"]), schedule, template)
