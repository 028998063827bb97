"""Saying no to an operator."""

from __future__ import annotations

from grid_async_task.domain.errors import GridAsyncTaskError


class Refused(GridAsyncTaskError):
    """What was asked for would do harm or nothing. The text says why, and what to do instead."""
