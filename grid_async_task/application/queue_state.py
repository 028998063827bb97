"""How a queue stands as a whole: what no worker can say, there being none at times."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from grid_async_task.application.dead_letters import SUFFIX
from grid_async_task.domain.errors import GridAsyncTaskError
from grid_async_task.ports import Backlog, Clock, MessagePublisher, QueueState, TaskRepository

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class QueueReport:
    """One look at broker and table."""

    #: None where the broker has no such queue, or none of it can be seen
    work: QueueState | None
    dead: QueueState | None
    #: None where the table can't be read
    backlog: Backlog | None
    broker_answers: bool
    database_answers: bool
    #: seconds for which the table was busy counting; 0 where it could not
    counted_s: float


class QueueWatch:
    """Looks at one queue from outside. Takes nothing, changes nothing."""

    def __init__(self, repository: TaskRepository, publisher: MessagePublisher, clock: Clock, queue: str) -> None:
        self._repository = repository
        self._publisher = publisher
        self._clock = clock
        self._queue = queue
        self._is_table_ready = False
        self._troubled: set[str] = set()

    def look(self) -> QueueReport:
        """Raises nothing: that a server does not answer is a part of the report."""
        work = dead = None
        try:
            work = self._publisher.look_at(self._queue)
            dead = self._publisher.look_at(self._queue + SUFFIX)
        except GridAsyncTaskError as error:
            self._trouble("broker", error)
        else:
            self._troubled.discard("broker")
        backlog, counted_s = None, 0.0
        try:
            if not self._is_table_ready:
                self._repository.prepare()
                self._is_table_ready = True
            began = self._clock.monotonic()
            backlog = self._repository.backlog(self._queue)
            counted_s = self._clock.monotonic() - began
        except GridAsyncTaskError as error:
            self._trouble("database", error)
        else:
            self._troubled.discard("database")
        return QueueReport(
            work,
            dead,
            backlog,
            broker_answers="broker" not in self._troubled,
            database_answers="database" not in self._troubled,
            counted_s=counted_s,
        )

    def _trouble(self, server: str, error: Exception) -> None:
        if server not in self._troubled:
            self._troubled.add(server)
            log.warning(f"the {server} can't be asked, trying again", error=str(error))
