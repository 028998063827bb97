"""The table as a producer sees it: a help, never a condition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import structlog

from grid_async_task.domain.errors import GridAsyncTaskError
from grid_async_task.domain.message import TaskMessage
from grid_async_task.domain.task import TaskStatus
from grid_async_task.ports import DataRefused, RepositoryUnavailable, TaskRepository

#: seconds for which a database that did not answer is left alone: each send would wait for it in vain
DATABASE_PAUSE_S = 30.0
#: a connection that died while nobody used it is found dead within so many seconds, and the next one is fresh
FOUND_DEAD_WITHIN_S = 1.0

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Records:
    """Rows of tasks that are sent. No method raises for a database that is away.

    What is not recorded here gets its row from the worker that claims it. `repository` None: nothing is recorded.
    """

    def __init__(self, repository: TaskRepository | None, monotonic: Callable[[], float]) -> None:
        self._repository = repository
        self._monotonic = monotonic
        self._is_table_ready = False
        self._rests_until: float | None = None

    def status_of(self, task_id: str) -> TaskStatus | None:
        """None where no such task is known."""

        def ask(table: TaskRepository) -> TaskStatus | None:
            reading = table.read(task_id)
            return None if reading is None else reading.task.status

        return self._ask(ask)

    def add_pending(self, messages: Sequence[TaskMessage], queues: Sequence[str]) -> None:
        """Rows for tasks that the broker has, `queues` beside `messages`."""
        self._ask(lambda table: table.record_pending(messages, queues))

    def add_delayed(self, message: TaskMessage, queue: str, delay_s: float) -> None:
        """A row for a task that the broker has and that waits for its time."""
        self._ask(lambda table: table.record_delayed(message, queue, delay_s))

    def close(self) -> None:
        if self._repository is not None:
            self._repository.close()

    def _ask(self, question: Callable[[TaskRepository], T]) -> T | None:
        if self._repository is None:
            return None
        began = self._monotonic()
        if self._rests_until is not None and began < self._rests_until:
            return None
        try:
            try:
                answer = question(self._ready(self._repository))
            except RepositoryUnavailable:
                if self._monotonic() - began > FOUND_DEAD_WITHIN_S:
                    raise
                answer = question(self._ready(self._repository))
        except GridAsyncTaskError as error:
            if not isinstance(error, DataRefused):
                self._rests_until = self._monotonic() + DATABASE_PAUSE_S
            log.warning("the table could not be asked; tasks are sent all the same, unrecorded", error=str(error))
            return None
        self._rests_until = None
        return answer

    def _ready(self, repository: TaskRepository) -> TaskRepository:
        if not self._is_table_ready:
            repository.prepare()
            self._is_table_ready = True
        return repository
