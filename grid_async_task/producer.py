"""`TaskProducer`: the producer as an application makes it, from its settings."""

from __future__ import annotations

from grid_async_task.application.producer import Producer
from grid_async_task.bootstrap import producer_parts
from grid_async_task.logs import log_warnings_only
from grid_async_task.ports import MessagePublisher, TaskRepository
from grid_async_task.settings import Settings


class TaskProducer(Producer):
    """Sends tasks to the queue of the settings, or to any other; see `Producer` for its methods.

    `record_pending=False` needs no database: tasks then get their row when a worker claims them.
    """

    def __init__(
        self,
        default_queue: str | None = None,
        *,
        record_pending: bool = True,
        settings: Settings | None = None,
        publisher: MessagePublisher | None = None,
        repository: TaskRepository | None = None,
    ) -> None:
        log_warnings_only()
        super().__init__(**producer_parts(default_queue, record_pending, settings, publisher, repository))
