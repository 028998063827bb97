from __future__ import annotations

import time

import pika
import pytest

from grid_async_task.adapters.rabbitmq.properties import incoming
from grid_async_task.adapters.rabbitmq.publisher import RabbitMessagePublisher
from grid_async_task.ports import Delivery, MessagePublisher
from grid_async_task.testing.contracts.message_publisher import MessagePublisherContract
from tests.servers.rabbitmq import new_queue_name


class TestRabbitMessagePublisher(MessagePublisherContract):
    @pytest.fixture(autouse=True)
    def _broker(self, amqp_url: str) -> None:
        self.url = amqp_url

    def make_publisher(self) -> MessagePublisher:
        return RabbitMessagePublisher(self.url)

    def new_queue(self) -> str:
        return new_queue_name()

    def take(self, queue: str, timeout_s: float) -> Delivery | None:
        # by pika itself: this is also how other people's clients see our messages
        deadline = time.monotonic() + timeout_s
        with pika.BlockingConnection(pika.URLParameters(self.url)) as connection:
            channel = connection.channel()
            while True:
                found, properties, body = channel.basic_get(queue, auto_ack=True)
                if found is not None:
                    return Delivery(body, properties.headers or {}, incoming(properties))
                if time.monotonic() >= deadline:
                    return None
                connection.sleep(0.02)
