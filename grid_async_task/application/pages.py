"""All tasks that a filter means, however many, a few at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from grid_async_task.domain.task import Task
from grid_async_task.ports import TaskFilter, TaskRepository

#: rows read in one go
PAGE = 200


def pages(repository: TaskRepository, wanted: TaskFilter) -> Iterator[list[Task]]:
    """The newest first. What is created meanwhile is not among them, and each comes once, whatever is done to it."""
    while page := repository.list_tasks(wanted, PAGE):
        yield page
        wanted = replace(wanted, before=page[-1].created_at, before_id=page[-1].id)
