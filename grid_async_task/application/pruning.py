"""Deleting tasks that ended long ago."""

from __future__ import annotations

from grid_async_task.domain.errors import ValidationError
from grid_async_task.domain.task import TaskStatus
from grid_async_task.ports import TaskRepository

#: a late copy of a message is recognised by its row: rows are kept for at least so many days
LEAST_DAYS_KEPT = 2
#: rows deleted in one transaction: workers wait for no more than that
PRUNE_BATCH = 500
DAY_S = 86_400.0


def prune(repository: TaskRepository, older_than_days: float, status: TaskStatus | None = None) -> int:
    """Delete final tasks, of one final state or of both, that owe no callback; how many there were.

    Raises `ValidationError` for less than 2 days.
    """
    older_than_s = _checked(older_than_days) * DAY_S
    count = 0
    pruned = repository.prune(older_than_s, PRUNE_BATCH, status)
    while pruned.reached is not None:
        count += pruned.count
        pruned = repository.prune(older_than_s, PRUNE_BATCH, status, pruned.reached)
    return count


def count_prunable(repository: TaskRepository, older_than_days: float, status: TaskStatus | None = None) -> int:
    """How many tasks `prune` would delete. Raises as `prune` does."""
    return repository.count_prunable(_checked(older_than_days) * DAY_S, status)


def _checked(older_than_days: float) -> float:
    if not older_than_days >= LEAST_DAYS_KEPT:  # NaN is refused too
        raise ValidationError(
            f"older_than_days must be at least {LEAST_DAYS_KEPT}: "
            "until then a late copy of a message is recognised by its row"
        )
    return older_than_days
