"""The two commits of a task, for many short tasks at once: one statement, one round trip, one wait for the disk.

On MySQL and MariaDB only. SQLite's waits are short, and its queue is not one for thousands of tasks a second.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from grid_async_task.adapters.sql.rows import message_values
from grid_async_task.adapters.sql.sql_part import SqlPart, us_until
from grid_async_task.domain.json_text import to_json
from grid_async_task.domain.message import TaskMessage
from grid_async_task.domain.task import Task, TaskStatus

#: what a message fills in, in the order in which it is bound
COLUMNS = tuple(message_values(TaskMessage(""), ""))


class GroupsPart(SqlPart):
    @property
    def can_group(self) -> bool:
        return self._database.is_mysql

    def insert_claimed_together(
        self, messages: Sequence[TaskMessage], *, queue: str, owner: str, lease_s: float, max_retry_count: int
    ) -> list[Task] | None:
        now = self._database.clock.now()
        tasks = [
            Task.pending(message, queue, now).claimed(owner, now, lease_s, max_retry_count, grouped=True)
            for message in messages
        ]
        rows = [
            (*{**message_values(message, queue), "max_retry_count": task.max_retry_count}.values(), owner)
            for message, task in zip(messages, tasks, strict=True)
        ]
        # in the order of their ids: two who insert the same tasks then wait for each other, not in a circle
        rows.sort(key=lambda row: str(row[0]))
        lease_us = us_until(tasks[0].wake_at, now)
        values = [value for row in rows for value in (*row, lease_us)]
        statement = f"{self._insert_claimed_head} VALUES {', '.join([self._insert_claimed_row] * len(rows))}"
        return tasks if self._database.insert(statement, values) else None

    @cached_property
    def _insert_claimed_head(self) -> str:
        columns = ", ".join((*COLUMNS, "owner", "wake_at", "status", "attempt", "grouped"))
        return f"INSERT INTO {self._tables.name} ({columns}, created_at, updated_at, started_at)"

    @cached_property
    def _insert_claimed_row(self) -> str:
        bound = ", ".join(["%s"] * (len(COLUMNS) + 1))
        now = "UTC_TIMESTAMP(6)"
        return (
            f"({bound}, TIMESTAMPADD(MICROSECOND, %s, {now}), '{TaskStatus.RUNNING.value}', 1, 1, {now}, {now}, {now})"
        )

    def claim_together(
        self, seen: Sequence[Task], *, owner: str, lease_s: float, max_retry_count: int
    ) -> list[Task] | None:
        now = self._database.clock.now()
        tasks = [
            replace(task, sweep_count=0).claimed(owner, now, lease_s, max_retry_count, grouped=True) for task in seen
        ]
        in_order = sorted(seen, key=lambda task: task.id)  # as at the INSERT: no circle of those who wait
        rows = _rows_of({"id": task.id, "attempt": task.attempt} for task in in_order)
        values = [*rows.values, owner, us_until(tasks[0].wake_at, now), max_retry_count, seen[0].queue]
        matched = self._database.write(f"UPDATE ({rows.text}) seen {self._claimed}", values)
        return tasks if matched == len(seen) else None

    @cached_property
    def _claimed(self) -> str:
        """What `claim` writes for rows that are pending."""
        now = "UTC_TIMESTAMP(6)"
        return (
            f"STRAIGHT_JOIN {self._tables.name} task ON task.id = seen.id SET"
            f" task.status = '{TaskStatus.RUNNING.value}', task.attempt = seen.attempt + 1, task.owner = %s,"
            f" task.wake_at = TIMESTAMPADD(MICROSECOND, %s, {now}), task.started_at = {now}, task.updated_at = {now},"
            " task.max_retry_count = COALESCE(task.max_retry_count, %s), task.queue = %s, task.grouped = 1,"
            " task.sweep_after = NULL, task.sweep_count = 0"
            f" WHERE task.attempt = seen.attempt AND task.status = '{TaskStatus.PENDING.value}'"
            " AND task.cancel_requested = 0"
        )

    def succeed_together(self, claims: Sequence[Task], results: Sequence[dict[str, Any]]) -> bool:
        rows = _rows_of(
            {"id": claim.id, "attempt": claim.attempt, "result": to_json(result)}
            for claim, result in zip(claims, results, strict=True)
        )
        values = [*rows.values, claims[0].owner]
        return self._database.write(f"UPDATE ({rows.text}) ended {self._succeeded}", values) == len(claims)

    @cached_property
    def _succeeded(self) -> str:
        """What `settle` writes for a success that owes no callback."""
        now = "UTC_TIMESTAMP(6)"
        nulls = ("owner", "wake_at", "sweep_after", "error_type", "error_message", "error_cause", "callback_status")
        return (
            f"STRAIGHT_JOIN {self._tables.name} task ON task.id = ended.id SET"
            f" task.status = '{TaskStatus.SUCCESS.value}', task.result = ended.result, task.progress = 100,"
            f" task.updated_at = {now}, task.completed_at = {now}, task.sweep_count = 0, task.callback_attempts = 0,"
            f" {', '.join(f'task.{name} = NULL' for name in nulls)}"
            f" WHERE task.attempt = ended.attempt AND task.owner = %s AND task.status = '{TaskStatus.RUNNING.value}'"
        )


@dataclass(frozen=True)
class _Rows:
    """Rows that stand in a statement as a table of their own."""

    text: str
    values: list[Any]


def _rows_of(rows: Iterable[Mapping[str, Any]]) -> _Rows:
    """Columns `id` and others, the same in each row."""
    bound = list(rows)
    # the first row names the columns, and the collation of the ids: that of those they are compared with
    first = ", ".join(f"%s{' COLLATE utf8mb4_bin' * (name == 'id')} AS {name}" for name in bound[0])
    others = ["SELECT " + ", ".join(["%s"] * len(bound[0]))] * (len(bound) - 1)
    return _Rows(" UNION ALL ".join([f"SELECT {first}", *others]), [value for row in bound for value in row.values()])
