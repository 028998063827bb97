"""The table of tasks in MySQL 8, MariaDB 10.6+ or a SQLite file."""

from __future__ import annotations

from grid_async_task.adapters.sql.task_repository import SqlTaskRepository

__all__ = ["SqlTaskRepository"]
