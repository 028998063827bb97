"""Recurring tasks from a file, with the times of crontabs (croniter)."""

from grid_async_task.adapters.cron.file import read_recurring
from grid_async_task.adapters.cron.schedule import CronSchedule

__all__ = ["CronSchedule", "read_recurring"]
