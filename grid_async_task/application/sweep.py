"""The net under the tickets: what the broker has lost is published again."""

from __future__ import annotations

import structlog

from grid_async_task.application.envelope import bare_ticket_of, message_of
from grid_async_task.application.lifecycle import Lifecycle
from grid_async_task.application.recurring import Recurring
from grid_async_task.domain.errors import ConnectionError, GridAsyncTaskError
from grid_async_task.domain.retry import Randomness
from grid_async_task.domain.task import TaskStatus
from grid_async_task.ports import Clock, MessagePublisher, TaskRepository

#: seconds between two sweeps of one queue, by all its workers together
EVERY_S = 30.0
#: rows a sweep looks at
MAX_ROWS = 100
#: a ticket of a running or waiting task is taken for lost when it is overdue by so many seconds ...
LOST_AFTER_S = 15 * 60.0
#: ... or by so many while the queue has a backlog, in which it may still be waiting
LOST_IN_BACKLOG_AFTER_S = 6 * 3600.0

log = structlog.get_logger(__name__)


class Sweep:
    """Looks for rows of one queue that nobody has looked at in time, and publishes a ticket for each."""

    def __init__(
        self,
        repository: TaskRepository,
        publisher: MessagePublisher,
        clock: Clock,
        lifecycle: Lifecycle,
        randomness: Randomness,
        *,
        queue: str,
        recurring: Recurring | None = None,
    ) -> None:
        self._repository = repository
        self._publisher = publisher
        self._clock = clock
        self._lifecycle = lifecycle
        self._randomness = randomness
        self._recurring = recurring
        self._queue = queue
        self._failing = False

    def run(self) -> None:
        """The loop of the sweep's thread."""
        while not self._clock.wait(self._lifecycle.stopping, EVERY_S * self._randomness.uniform(0.8, 1.2)):
            try:
                if self._repository.win_sweep(self._queue, EVERY_S):
                    self.sweep()
                self._failing = False
            except ConnectionError as error:
                log.debug("sweep put off", error=str(error))
            except GridAsyncTaskError as error:
                if not self._failing:
                    self._failing = True
                    log.warning("sweep failed, it is tried again", error=str(error))

    def sweep(self) -> int:
        """One round; how many messages it published."""
        backlog = self._publisher.declare(self._queue).ready
        lost_after_s = LOST_IN_BACKLOG_AFTER_S if backlog else LOST_AFTER_S
        published = self._publisher.rescue_stranded()
        for task in self._repository.overdue(self._queue, lost_after_s=lost_after_s, limit=MAX_ROWS):
            # marked first: two sweepers, or one that dies here, must not publish for ever
            if self._repository.mark_swept(task):
                self._publisher.publish(bare_ticket_of(task) if task.status.is_final else message_of(task))
                published += 1
                if task.status is TaskStatus.PENDING:
                    self._repository.clear_owed(task.id, task.attempt)
        if self._recurring is not None:
            published += self._recurring.send_due()
        if published:
            log.info("sweep published tickets", queue=self._queue, tickets=published)
        return published
