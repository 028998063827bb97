"""Who runs what."""

from __future__ import annotations

from dataclasses import dataclass

from grid_async_task.domain.task import Task, TaskStatus
from grid_async_task.ports import TaskFilter, TaskRepository


@dataclass(frozen=True)
class Stint:
    """One worker and the task that it runs."""

    task: Task
    #: seconds until another worker may take the task over; below 0 nobody has renewed the lease in time
    lease_left_s: float


def roster(repository: TaskRepository, queue: str | None, limit: int) -> list[Stint]:
    """The running tasks, the newest first. Leases are judged by the database's clock."""
    stints: list[Stint] = []
    for listed in repository.list_tasks(TaskFilter((TaskStatus.RUNNING,), queue=queue), limit):
        reading = repository.read(listed.id)
        if reading is None or reading.task.status is not TaskStatus.RUNNING or reading.task.wake_at is None:
            continue  # it ended meanwhile
        stints.append(Stint(reading.task, (reading.task.wake_at - reading.now).total_seconds()))
    return stints
