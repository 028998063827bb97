"""Hour-long tasks behind RabbitMQ, with their state in MySQL, that are neither lost nor rerun.

Subclass `TaskHandler`, run it with `TaskProcessor`, send tasks with `TaskProducer`, ask about them
with `TaskClient`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from grid_async_task.domain.errors import (
    BatchError,
    ConfigurationError,
    ConnectionError,
    Discard,
    GridAsyncTaskError,
    PermanentCallbackError,
    Retry,
    RetryExhausted,
    Snooze,
    TaskCancelled,
    TaskInterrupted,
    TimeoutError,
    ValidationError,
)
from grid_async_task.domain.task import Task, TaskStatus
from grid_async_task.handler import TaskHandler

if TYPE_CHECKING:
    from grid_async_task.client import TaskClient
    from grid_async_task.processor import TaskProcessor
    from grid_async_task.producer import TaskProducer
    from grid_async_task.settings import Settings

__version__ = "2.0.0"

__all__ = [
    "BatchError",
    "ConfigurationError",
    "ConnectionError",
    "Discard",
    "GridAsyncTaskError",
    "PermanentCallbackError",
    "Retry",
    "RetryExhausted",
    "Settings",
    "Snooze",
    "Task",
    "TaskCancelled",
    "TaskClient",
    "TaskHandler",
    "TaskInterrupted",
    "TaskProcessor",
    "TaskProducer",
    "TaskStatus",
    "TimeoutError",
    "ValidationError",
]

#: imported when first used: a producer has no need of a worker's parts, nor a handler of the database's
_LATE = {
    "Settings": "grid_async_task.settings",
    "TaskClient": "grid_async_task.client",
    "TaskProcessor": "grid_async_task.processor",
    "TaskProducer": "grid_async_task.producer",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LATE[name]), name)
