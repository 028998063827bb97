"""Sending recurring tasks, each once for each of its times, however many workers look."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import structlog

from grid_async_task.application.envelope import task_properties
from grid_async_task.domain.errors import ConnectionError, GridAsyncTaskError
from grid_async_task.ports import Clock, MessagePublisher, OutgoingMessage, RecurringTask, TaskRepository

#: seconds by which a task may be sent late. What was missed by more is left out: its row, by which it is known to
#: have been sent, may have been pruned after two days.
MISSED_S = 3600.0

log = structlog.get_logger(__name__)


class Recurring:
    """Its times make the ids of tasks: what two workers send at once is one task."""

    def __init__(
        self,
        tasks: Sequence[RecurringTask],
        repository: TaskRepository,
        publisher: MessagePublisher,
        clock: Clock,
        *,
        queue: str,
    ) -> None:
        """Those of other queues are left to their own workers."""
        self._tasks = [task for task in tasks if task.queue == queue]
        self._repository = repository
        self._publisher = publisher
        self._clock = clock
        #: by name, the time that is known to have been served
        self._served: dict[str, datetime] = {}

    def send_due(self) -> int:
        """Send what is due and has no row yet; how many tasks. Of several missed times of a task only the newest.

        What is refused is not tried again for this time, and keeps none of the others from being sent.
        """
        now = self._clock.now()
        sent = 0
        for task in self._tasks:
            due = task.schedule.latest(now)
            if (now - due).total_seconds() <= MISSED_S and self._served.get(task.name) != due:
                try:
                    sent += self._send(task, due)
                except ConnectionError:  # nor would the others get through
                    raise
                except GridAsyncTaskError as error:
                    log.error("recurring task refused", name=task.name, due=due.isoformat(), error=str(error))
                    self._served[task.name] = due
        return sent

    def _send(self, task: RecurringTask, due: datetime) -> bool:
        message = task.due_at(due)
        is_new = self._repository.read(message.task_id) is None
        if is_new:
            # as a producer does: a crash before the row is there sends it again, under the same id
            properties = task_properties(message.task_id)
            self._publisher.publish(OutgoingMessage(task.queue, message.to_body(), properties=properties))
            self._repository.record_pending([message], [task.queue])
            log.info("recurring task sent", task_id=message.task_id, queue=task.queue)
        self._served[task.name] = due
        return is_new
