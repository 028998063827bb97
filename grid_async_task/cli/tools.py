"""What commands work with: the settings, and the adapters they name, opened when first used."""

from __future__ import annotations

import random
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from functools import cached_property

from grid_async_task import adapter_choice
from grid_async_task.adapters.process.clock import SystemClock
from grid_async_task.application.callback_desk import CallbackDesk
from grid_async_task.application.client import Client
from grid_async_task.application.dead_letter_desk import DeadLetterDesk
from grid_async_task.application.dead_letters import SUFFIX
from grid_async_task.application.lifecycle import Lifecycle
from grid_async_task.application.recurring import Recurring
from grid_async_task.application.sweep import Sweep
from grid_async_task.cli.quiet_logs import warnings_only
from grid_async_task.domain.message import MessageLimits
from grid_async_task.ports import MessagePublisher, TaskRepository
from grid_async_task.settings import Settings

#: messages that a broker hands out ahead, at most
LARGEST_PREFETCH = 65_535


class Tools(AbstractContextManager["Tools"]):
    """Everything opened is closed at the end. Each part asks only for the settings that it uses."""

    def __init__(self, queue: str | None = None) -> None:
        """`queue` wins over the one of the settings. Raises `ConfigurationError`."""
        warnings_only()
        self.settings = Settings.from_environment(queue=queue)
        self._opened = ExitStack()

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    @property
    def queue(self) -> str:
        self.settings.require("rabbitmq_queue")
        assert self.settings.queue is not None
        return self.settings.queue

    @cached_property
    def repository(self) -> TaskRepository:
        self.unprepared_repository.prepare()
        return self.unprepared_repository

    @cached_property
    def unprepared_repository(self) -> TaskRepository:
        """For who does not want to fail because the database is away at this moment."""
        repository = adapter_choice.open_repository(self.settings)
        self._opened.callback(repository.close)
        return repository

    @cached_property
    def publisher(self) -> MessagePublisher:
        publisher = adapter_choice.open_publisher(self.settings)
        self._opened.callback(publisher.close)
        return publisher

    @cached_property
    def client(self) -> Client:
        return Client(self.repository, lambda: self.publisher)

    @cached_property
    def callbacks(self) -> CallbackDesk:
        return CallbackDesk(self.repository, lambda: self.publisher)

    @cached_property
    def sweep(self) -> Sweep:
        clock, queue = SystemClock(), self.queue
        tasks = adapter_choice.open_recurring(self.settings)
        recurring = Recurring(tasks, self.repository, self.publisher, clock, queue=queue)
        return Sweep(
            self.repository, self.publisher, clock, Lifecycle(), random.Random(), queue=queue, recurring=recurring
        )

    def dead_letters(self, limit: int) -> DeadLetterDesk:
        """For looking at so many; it has to be left before these tools are."""
        queue = self.queue
        prefetch = min(limit, LARGEST_PREFETCH)
        return DeadLetterDesk(
            adapter_choice.open_source(replace(self.settings, queue=queue + SUFFIX, prefetch_count=prefetch)),
            self.publisher,
            lambda: self.repository,
            queue=queue,
            limits=MessageLimits(self.settings.message_max_bytes, callback_types=None),
        )
