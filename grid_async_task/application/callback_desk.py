"""Callbacks that did not arrive, and having them sent again."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from grid_async_task.application.envelope import SPARE_TICKET_S, bare_ticket_of
from grid_async_task.application.refusal import Refused
from grid_async_task.domain.errors import GridAsyncTaskError
from grid_async_task.domain.task import CallbackStatus, Task
from grid_async_task.ports import MessagePublisher, TaskFilter, TaskRepository

log = structlog.get_logger(__name__)


class CallbackDesk:
    """What an operator asks about callbacks. The broker is needed only to have one sent again."""

    def __init__(self, repository: TaskRepository, publisher: Callable[[], MessagePublisher]) -> None:
        self._repository = repository
        self._publisher = publisher

    def with_status(self, status: CallbackStatus, queue: str | None, limit: int) -> list[Task]:
        """Final tasks whose callback stands so, the newest first."""
        return self._repository.list_tasks(TaskFilter(queue=queue, callback_status=status), limit)

    def redeliver(self, task_id: str) -> None:
        """Have a callback that was given up, or that its receiver has lost, sent again under its old id.

        Raises `Refused`.
        """
        reading = self._repository.read(task_id)
        if reading is None:
            raise Refused(f"there is no task {task_id!r}")
        task = reading.task
        if task.callback_status is None:
            why = "did not ask for a callback" if task.status.is_final else f"is {task.status.value}, not finished"
            raise Refused(f"task {task_id!r} {why}")
        if task.callback_status is CallbackStatus.DUE:
            raise Refused(f"the callback of task {task_id!r} is still due: a worker tries again by itself")
        # A spare ticket first: were this process to die after the commit, the callback would have no message.
        self._publisher().declare(task.queue)
        self._publisher().publish(bare_ticket_of(task, delay_s=SPARE_TICKET_S))
        if not self._repository.redeliver_callback(task):
            raise Refused(f"task {task_id!r} was changed by somebody else this very moment; look at it again")
        try:
            self._publisher().publish(bare_ticket_of(task))
        except GridAsyncTaskError as error:
            log.warning("the callback is due, its spare ticket comes later", task_id=task_id, error=str(error))
