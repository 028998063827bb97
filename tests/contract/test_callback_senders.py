from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pika
import pytest

from grid_async_task.adapters.http import HttpCallbackSender
from grid_async_task.adapters.memory import FakeClock, MemoryBroker, MemoryMessagePublisher, RecordingCallbackSender
from grid_async_task.adapters.rabbitmq.publisher import RabbitMessagePublisher
from grid_async_task.adapters.reply_queue import ReplyQueueSender
from grid_async_task.domain.callback import Callback
from grid_async_task.domain.errors import ConfigurationError, PermanentCallbackError
from grid_async_task.ports import (
    BrokerUnavailable,
    CallbackDeferred,
    CallbackFailed,
    CallbackSender,
    OutgoingMessage,
    PublishRefused,
)
from grid_async_task.testing.contracts.callback_sender import CallbackSenderContract, Received
from tests.servers.http_receiver import HttpReceiver
from tests.servers.rabbitmq import new_queue_name


class TestHttpCallbackSender(CallbackSenderContract):
    @pytest.fixture(autouse=True)
    def _receiver(self) -> Iterator[None]:
        with HttpReceiver() as self.receiver:
            yield

    def sender(self) -> CallbackSender:
        return HttpCallbackSender()

    def address(self) -> dict[str, Any]:
        return {"type": "http", "url": self.receiver.url}

    def received(self) -> list[Received]:
        return [Received(request.headers["webhook-id"], request.body) for request in self.receiver.requests]

    def break_receiver(self) -> None:
        self.receiver.answer_with([500])


class TestRecordingCallbackSender(CallbackSenderContract):
    def sender(self) -> CallbackSender:
        self.recording = RecordingCallbackSender()
        return self.recording

    def received(self) -> list[Received]:
        return [Received(callback.id, callback.body) for callback in self.recording.callbacks]

    def break_receiver(self) -> None:
        self.recording.fail_next(CallbackFailed("no"))


class MoodyPublisher(MemoryMessagePublisher):
    """Publishes in memory, but first raises what it is told to."""

    def __init__(self, *errors: Exception) -> None:
        self.broker = MemoryBroker(FakeClock())
        self.errors = list(errors)
        super().__init__(self.broker)

    def publish(self, message: OutgoingMessage) -> None:
        if self.errors:
            raise self.errors.pop()
        super().publish(message)


class TestReplyQueueSenderInMemory(CallbackSenderContract):
    @pytest.fixture(autouse=True)
    def _publisher(self) -> None:
        self.publisher = MoodyPublisher()

    def sender(self) -> CallbackSender:
        return ReplyQueueSender(self.publisher)

    def address(self) -> dict[str, Any]:
        return {"type": "rabbitmq", "data": {"queue_name": "replies"}}

    def received(self) -> list[Received]:
        messages = self.publisher.broker.waiting_for("replies")
        return [Received(message.properties["message_id"], message.body) for message in messages]

    def break_receiver(self) -> None:
        self.publisher.errors.append(PublishRefused("the queue is full"))


def reply(data: dict[str, Any]) -> Callback:
    return Callback("cb_1", "Job-1", "rabbitmq", None, data, b"{}")


def test_without_a_queue_name_the_reply_goes_to_the_default_queue() -> None:
    publisher = MoodyPublisher()
    ReplyQueueSender(publisher).send(reply({}))
    [message] = publisher.broker.waiting_for("callback_queue")
    assert message.properties == {"content_type": "application/json", "message_id": "cb_1"}


@pytest.mark.parametrize("error", [BrokerUnavailable("gone"), ConfigurationError("login refused")])
def test_a_broker_that_can_not_be_used_costs_no_try(error: Exception) -> None:
    with pytest.raises(CallbackDeferred, match=str(error)):
        ReplyQueueSender(MoodyPublisher(error)).send(reply({}))


def test_a_queue_that_refuses_is_a_failed_try() -> None:
    with pytest.raises(CallbackFailed, match="reply queue 'callback_queue' refused the callback: full"):
        ReplyQueueSender(MoodyPublisher(PublishRefused("full"))).send(reply({}))


@pytest.mark.parametrize("name", [7, ["a"], "x" * 256])
def test_what_is_no_queue_name_is_given_up(name: object) -> None:
    with pytest.raises(PermanentCallbackError, match="queue_name"):
        ReplyQueueSender(MoodyPublisher()).send(reply({"queue_name": name}))


class TestReplyQueueSenderOverRabbitMq(CallbackSenderContract):
    @pytest.fixture(autouse=True)
    def _broker(self, amqp_url: str) -> Iterator[None]:
        self.queue = new_queue_name()
        self.publisher = RabbitMessagePublisher(amqp_url)
        self.connection = pika.BlockingConnection(pika.URLParameters(amqp_url))
        self.channel = self.connection.channel()
        self.taken: list[Received] = []
        yield
        self.publisher.close()
        self.channel.queue_delete(self.queue)
        self.connection.close()

    def sender(self) -> CallbackSender:
        return ReplyQueueSender(self.publisher)

    def address(self) -> dict[str, Any]:
        return {"type": "rabbitmq", "data": {"queue_name": self.queue}}

    def received(self) -> list[Received]:
        while True:
            method, properties, body = self.channel.basic_get(self.queue, auto_ack=True)
            if method is None:
                return self.taken
            assert properties.delivery_mode == 2
            assert properties.content_type == "application/json"
            self.taken.append(Received(properties.message_id, body))

    def break_receiver(self) -> None:
        self.channel.queue_declare(
            self.queue, durable=True, arguments={"x-max-length": 0, "x-overflow": "reject-publish"}
        )

    def mend_receiver(self) -> None:
        self.channel.queue_delete(self.queue)
