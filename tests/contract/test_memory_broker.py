from __future__ import annotations

import itertools

import pytest

from grid_async_task.adapters.memory import MemoryBroker
from grid_async_task.adapters.process.clock import SystemClock
from grid_async_task.ports import Delivery, MessagePublisher, MessageSource
from grid_async_task.testing.contracts import MessagePublisherContract, MessageSourceContract

_NUMBERS = itertools.count(1)


class _InMemory:
    @pytest.fixture(autouse=True)
    def _broker(self) -> None:
        self.broker = MemoryBroker(SystemClock())

    def make_publisher(self) -> MessagePublisher:
        return self.broker.publisher()

    def new_queue(self) -> str:
        return f"queue-{next(_NUMBERS)}"


class TestMemoryMessageSource(_InMemory, MessageSourceContract):
    def make_source(self, queue: str, prefetch: int) -> MessageSource:
        return self.broker.source(queue, prefetch)


class TestMemoryMessagePublisher(_InMemory, MessagePublisherContract):
    def take(self, queue: str, timeout_s: float) -> Delivery | None:
        source = self.broker.source(queue)
        delivery = source.next(timeout_s)
        if delivery is not None:
            source.ack(delivery)
        source.close()
        return delivery
