"""What is said in every log line while a task runs, also by threads that its handler has started."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import structlog

from grid_async_task.domain.task import Task

#: of the tasks that run in this process: one, unless an application runs several workers in threads
_running: list[Mapping[str, Any]] = []


def fields_of(task: Task) -> dict[str, Any]:
    """What every line about an attempt says."""
    return {"task_id": task.id, "task_type": task.task_type, "attempt": task.attempt, "worker": task.owner}


@contextmanager
def task_fields(**fields: Any) -> Iterator[None]:
    """Around a task, in the thread that runs it."""
    _running.append(fields)
    try:
        with structlog.contextvars.bound_contextvars(**fields):
            yield
    finally:
        _running.remove(fields)


def fields_of_the_only_task() -> Mapping[str, Any]:
    """For a thread without fields of its own: those of the one task that runs; none where it could be another."""
    running = _running[:1] if len(_running) == 1 else []
    return running[0] if running else {}
