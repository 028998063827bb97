"""`TaskProcessor`: a worker with the parameters of version 1."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from grid_async_task.adapters.process.stop_signals import stop_signals
from grid_async_task.bootstrap import create_worker
from grid_async_task.domain.errors import ConfigurationError
from grid_async_task.handler import TaskHandler
from grid_async_task.logs import set_up_logging
from grid_async_task.ports import CallbackSender, Clock, MessagePublisher, MessageSource, Notifier, TaskRepository
from grid_async_task.settings import Settings


class TaskProcessor:
    """Runs `handler` on the tasks of one queue until it is stopped or has been idle for long enough.

    A keyword that is None leaves the setting as it is. The constructor checks the configuration;
    `start()` connects. In the main thread SIGTERM and SIGINT stop it; in any other it runs without
    signal handlers.
    """

    def __init__(
        self,
        handler: TaskHandler,
        *,
        max_retry_count: int | None = None,
        retry_delay: float | None = None,
        progress_interval: float | None = None,
        enable_auto_ack: bool = True,
        prefetch_count: int | None = None,
        idle_timeout: float | None = None,
        task_timeout: float | None = None,
        queue: str | None = None,
        settings: Settings | None = None,
        repository: TaskRepository | None = None,
        source: MessageSource | None = None,
        publisher: MessagePublisher | None = None,
        callback_senders: Mapping[str, CallbackSender] | None = None,
        notifier: Notifier | None = None,
        clock: Clock | None = None,
    ) -> None:
        if not isinstance(handler, TaskHandler):
            raise ConfigurationError(f"handler must be an instance of a TaskHandler subclass, not {handler!r}")
        given = {
            "max_retry_count": max_retry_count,
            "retry_delay": retry_delay,
            "progress_interval": progress_interval,
            "prefetch_count": prefetch_count,
            "idle_timeout": idle_timeout,
            "task_timeout": task_timeout,
            "queue": queue,
        }
        overrides: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        self._settings = replace(settings, **overrides) if settings else Settings.from_environment(**overrides)
        self._worker = create_worker(
            handler,
            settings=self._settings,
            repository=repository,
            source=source,
            publisher=publisher,
            callback_senders=callback_senders,
            notifier=notifier,
            clock=clock,
            enable_auto_ack=enable_auto_ack,
        )
        self._is_running = False
        self._started = threading.Lock()

    def start(self) -> None:
        """Work; returns on idle exit and after `stop()`. An unreachable server is waited for.

        May be called once, as a thread's `start`: a second call raises `RuntimeError`. Raises
        `ConfigurationError` where a server refuses the login, and for a time limit outside the main thread, unless
        the handler has a process of its own (`ISOLATION=process`).
        """
        if not self._started.acquire(blocking=False):
            raise RuntimeError("a TaskProcessor can be started only once; make a new one")
        set_up_logging(self._settings)
        with ExitStack() as stack:
            if threading.current_thread() is threading.main_thread():
                stack.enter_context(stop_signals(self._worker.stop))
            self._is_running = True
            try:
                self._worker.run()
            finally:
                self._is_running = False

    def stop(self) -> None:
        """Take no new task; the running one has the grace period to end. From any thread."""
        self._worker.stop()

    @property
    def is_running(self) -> bool:
        return self._is_running

    @property
    def current_task_id(self) -> str | None:
        """The task that runs now."""
        return self._worker.current_task_id

    def get_status(self) -> dict[str, Any]:
        return {
            "is_running": self._is_running,
            "current_task_id": self.current_task_id,
            "rabbitmq_connected": self._worker.is_connected,
            "settings": {
                "max_retry_count": self._settings.max_retry_count,
                "retry_delay": self._settings.retry_delay,
                "prefetch_count": self._settings.prefetch_count,
                "task_timeout": self._settings.task_timeout,
            },
        }
