"""`TaskClient`: the query API as an application makes it, from its settings."""

from __future__ import annotations

from grid_async_task.application.client import Client
from grid_async_task.bootstrap import client_parts
from grid_async_task.logs import log_warnings_only
from grid_async_task.ports import MessagePublisher, TaskRepository
from grid_async_task.settings import Settings


class TaskClient(Client):
    """Asks about tasks, cancels and retries them; see `Client` for its methods.

    Needs `MYSQL_URL`; `AMQP_URL` only for `retry_task` and `cancel_task`.
    """

    def __init__(
        self,
        *,
        settings: Settings | None = None,
        repository: TaskRepository | None = None,
        publisher: MessagePublisher | None = None,
    ) -> None:
        log_warnings_only()
        super().__init__(**client_parts(settings, repository, publisher))
