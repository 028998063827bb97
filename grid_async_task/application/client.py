"""Asking about tasks, and stopping or reviving them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import structlog

from grid_async_task.application.envelope import SPARE_TICKET_S, bare_ticket_of, message_of
from grid_async_task.application.pruning import prune
from grid_async_task.domain.errors import GridAsyncTaskError, ValidationError
from grid_async_task.domain.failure import CANCELLED
from grid_async_task.domain.task import Task, TaskStatus
from grid_async_task.ports import MessagePublisher, TaskFilter, TaskRepository

log = structlog.get_logger(__name__)


class Client:
    """The query API. Connects on first use; may be shared by threads."""

    def __init__(self, repository: TaskRepository, publisher: Callable[[], MessagePublisher]) -> None:
        self._repository = repository
        self._open_publisher = publisher
        self._publisher: MessagePublisher | None = None
        self._lock = threading.Lock()
        self._is_table_ready = False

    def get_task(self, task_id: str) -> Task | None:
        """All that is known of a task; None for an unknown id."""
        reading = self._table.read(task_id)
        return None if reading is None else reading.task

    def get_progress(self, task_id: str) -> dict[str, Any] | None:
        """How far a task is, as in SPEC section 6; None for an unknown id."""
        task = self.get_task(task_id)
        return None if task is None else task.progress_to_wire()

    def list_tasks(
        self,
        status: TaskStatus | str | None = None,
        task_type: str | None = None,
        queue: str | None = None,
        limit: int = 100,
        before: datetime | Task | None = None,
    ) -> list[Task]:
        """Tasks, the newest first.

        `before` pages on: the last task of the page before, or a time (UTC where it names no zone).
        """
        if limit < 1:
            raise ValidationError(f"limit must be at least 1, not {limit}")
        moment, last_id = (before.created_at, before.id) if isinstance(before, Task) else (before, None)
        if moment is not None and moment.tzinfo is None:
            moment = moment.replace(tzinfo=timezone.utc)
        wanted = TaskFilter(
            () if status is None else (_status(status),), task_type, queue, before=moment, before_id=last_id
        )
        return self._table.list_tasks(wanted, limit)

    def count_by_status(self) -> dict[str, int]:
        """How many tasks there are in each of the five states."""
        counts = self._table.count_by_status()
        return {status.value: counts.get(status, 0) for status in TaskStatus}

    def cancel_task(self, task_id: str) -> bool:
        """Cancel a task: a waiting one fails at once, a running one is asked to stop. False: unknown or final."""
        while (task := self.get_task(task_id)) is not None and not task.status.is_final:
            if task.status is TaskStatus.RUNNING:
                if self._table.request_cancel(task):
                    return True
            elif self._table.fail_unrun(task, CANCELLED):
                if task.callback.is_asked:
                    self._hurry(task)
                return True
        return False

    def retry_task(self, task_id: str) -> bool:
        """Revive a failed task: `pending`, with counts anew.

        False where it is unknown, not failed, or its callback is still due. Raises `ConnectionError`
        where a server can't be reached; the task is then as it was, unless the database's answer was lost.
        """
        task = self.get_task(task_id)
        if task is None or task.status is not TaskStatus.FAILED or task.wake_at is not None:
            return False
        # A spare ticket first: were this process to die after the commit, the task would have no message.
        publisher = self._broker
        publisher.declare(task.queue)
        publisher.publish(message_of(task, delay_s=SPARE_TICKET_S))
        if not self._table.retry_failed(task):
            return False
        try:
            publisher.publish(message_of(task))
            self._table.clear_owed(task.id, task.attempt + 1)
        except GridAsyncTaskError as error:
            log.warning("the retry stands, the task's spare ticket comes later", task_id=task_id, error=str(error))
        return True

    def prune_tasks(self, older_than_days: float = 30) -> int:
        """Delete final tasks that ended so long ago and owe no callback; how many there were. At least 2 days."""
        return prune(self._table, older_than_days)

    def close(self) -> None:
        """Let go of the connections, those of adapters that were given too."""
        try:
            with self._lock:
                publisher, self._publisher = self._publisher, None
            if publisher is not None:
                publisher.close()
        finally:
            self._repository.close()

    @property
    def _broker(self) -> MessagePublisher:
        """Opened by the first who needs it: questions need no broker."""
        with self._lock:
            if self._publisher is None:
                self._publisher = self._open_publisher()
            return self._publisher

    @property
    def _table(self) -> TaskRepository:
        if not self._is_table_ready:
            self._repository.prepare()
            self._is_table_ready = True
        return self._repository

    def _hurry(self, task: Task) -> None:
        """The row still has its ticket; a second one only brings the callback sooner."""
        try:
            self._broker.publish(bare_ticket_of(task))
        except GridAsyncTaskError as error:
            log.info("the callback of the cancelled task goes out when its ticket is due", error=str(error))


def _status(value: TaskStatus | str) -> TaskStatus:
    try:
        return TaskStatus(value)
    except ValueError:
        allowed = ", ".join(status.value for status in TaskStatus)
        raise ValidationError(f"status {value!r} is unknown; allowed are {allowed}") from None
