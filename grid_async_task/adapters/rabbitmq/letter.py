"""A message as it is written to the broker."""

from __future__ import annotations

from dataclasses import dataclass

from pika import BasicProperties

from grid_async_task.adapters.rabbitmq.delay_ladder import QUEUE_HEADER, entry_exchange, routing_key
from grid_async_task.adapters.rabbitmq.properties import outgoing
from grid_async_task.ports import OutgoingMessage


@dataclass(frozen=True, slots=True)
class Letter:
    exchange: str
    routing_key: str
    body: bytes
    properties: BasicProperties


def letter_of(message: OutgoingMessage) -> Letter:
    """A delayed one goes to the ladder, which knows its queue by the header."""
    if message.delay_s > 0:
        properties = outgoing(message, {QUEUE_HEADER: message.queue})
        key = routing_key(message.delay_s, message.queue)
        return Letter(entry_exchange(message.delay_s), key, message.body, properties)
    return Letter(message.exchange, message.queue, message.body, outgoing(message, {}))
