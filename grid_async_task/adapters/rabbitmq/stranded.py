"""Delayed messages that came due and did not find their queue: deleted meanwhile, or made anew without its binding."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import structlog
from pika import BasicProperties
from pika.channel import Channel
from pika.exceptions import ChannelClosedByBroker
from pika.spec import Basic

from grid_async_task.adapters.rabbitmq.connection import Connection, Done
from grid_async_task.adapters.rabbitmq.delay_ladder import QUEUE_HEADER, UNROUTED
from grid_async_task.adapters.rabbitmq.error_text import text_of
from grid_async_task.adapters.rabbitmq.properties import incoming
from grid_async_task.adapters.rabbitmq.topology import NOT_FOUND
from grid_async_task.domain.errors import GridAsyncTaskError
from grid_async_task.ports import BrokerUnavailable, MessagePublisher, OutgoingMessage

log = structlog.get_logger(__name__)

#: messages to take in hand at once
LIMIT = 100


@dataclass(frozen=True)
class _Stranded:
    tag: int
    #: the message for its own queue; for the unrouted one again where it names none
    message: OutgoingMessage

    @property
    def is_foreign(self) -> bool:
        return self.message.exchange == UNROUTED


def rescue(connection: Connection, publisher: MessagePublisher) -> int:
    """Publish up to `LIMIT` of them to their queues, which are made and bound first. How many there were."""
    try:
        channel, stranded = connection.converse(_collect, keep=True)
    except ChannelClosedByBroker as closed:
        if closed.reply_code == NOT_FOUND:
            return 0  # no ladder, no stranded messages
        raise BrokerUnavailable(f"the queue {UNROUTED} can't be read: {text_of(closed)}") from closed
    safe: list[int] = []
    try:
        rescued = sum(_put_on_queue(each, publisher, safe) for each in stranded)
    finally:
        connection.post(lambda: _release(channel, safe))
    if rescued:
        log.warning("stranded messages rescued", count=rescued)
    return rescued


def _put_on_queue(stranded: _Stranded, publisher: MessagePublisher, safe: list[int]) -> bool:
    message = stranded.message
    try:
        if not stranded.is_foreign:
            publisher.declare(message.queue)
        publisher.publish(message)
    except GridAsyncTaskError as error:
        log.error("a stranded message can't be put on its queue", queue=message.queue, error=str(error))
        # to the end of the line; giving it back would count against a quorum queue's delivery limit
        publisher.publish(replace(message, exchange=UNROUTED))
        safe.append(stranded.tag)
        return False
    safe.append(stranded.tag)
    return not stranded.is_foreign


def _collect(channel: Channel, done: Done[tuple[Channel, list[_Stranded]]]) -> None:
    found: list[_Stranded] = []

    def got(_channel: Channel, answer: Basic.GetOk, properties: BasicProperties, body: bytes) -> None:
        headers = dict(properties.headers or {})
        queue = headers.get(QUEUE_HEADER)
        exchange = "" if isinstance(queue, str) else UNROUTED
        message = OutgoingMessage(str(queue), body, 0, headers, incoming(properties), exchange)
        found.append(_Stranded(cast(int, answer.delivery_tag), message))
        if len(found) < LIMIT:
            channel.basic_get(UNROUTED, got)
        else:
            done((channel, found))

    channel.add_callback(lambda _frame: done((channel, found)), [Basic.GetEmpty])
    channel.basic_get(UNROUTED, got)


def _release(channel: Channel, safe: list[int]) -> None:
    """Those that are safe elsewhere are done with; closing gives the others back."""
    if channel.is_open:
        for tag in safe:
            channel.basic_ack(tag)
        channel.close()
