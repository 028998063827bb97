from __future__ import annotations

import pytest

from grid_async_task.adapters.rabbitmq.publisher import RabbitMessagePublisher
from grid_async_task.adapters.rabbitmq.source import RabbitMessageSource
from grid_async_task.adapters.rabbitmq.topology import QueueType
from grid_async_task.ports import MessagePublisher, MessageSource
from grid_async_task.testing.contracts.message_source import MessageSourceContract
from tests.servers.rabbitmq import new_queue_name


class TestRabbitMessageSourceOnAClassicQueue(MessageSourceContract):
    QUEUE_TYPE: QueueType = "classic"

    @pytest.fixture(autouse=True)
    def _broker(self, amqp_url: str) -> None:
        self.url = amqp_url

    def make_source(self, queue: str, prefetch: int) -> MessageSource:
        return RabbitMessageSource(self.url, queue, prefetch=prefetch, queue_type=self.QUEUE_TYPE)

    def make_publisher(self) -> MessagePublisher:
        return RabbitMessagePublisher(self.url, queue_type=self.QUEUE_TYPE)

    def new_queue(self) -> str:
        return new_queue_name()


class TestRabbitMessageSourceOnAQuorumQueue(TestRabbitMessageSourceOnAClassicQueue):
    QUEUE_TYPE = "quorum"
