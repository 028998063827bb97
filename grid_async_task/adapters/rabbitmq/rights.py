"""What a login may do on a broker, by AMQP alone. Finding out changes nothing and takes no message."""

from __future__ import annotations

from collections.abc import Callable

from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection
from pika.exceptions import ChannelClosedByBroker

from grid_async_task.adapters.rabbitmq.topology import ACCESS_REFUSED


def may_write(connection: BlockingConnection, exchange: str) -> bool:
    """Whether the login may publish to an exchange that exists."""

    def publish(channel: BlockingChannel) -> None:
        # in a transaction the right is checked at once, and rolled back the message goes nowhere
        channel.tx_select()
        channel.basic_publish(exchange, "", b"")
        channel.tx_rollback()

    return _is_allowed(connection, publish)


def may_read(connection: BlockingConnection, queue: str) -> bool:
    """Whether the login may consume from a queue that exists."""

    def consume(channel: BlockingChannel) -> None:
        # refused in any case: for the missing right, which is looked at first, or for what is no priority
        channel.basic_qos(prefetch_count=1)
        channel.basic_consume(queue, lambda *_: None, arguments={"x-priority": "none"})

    return _is_allowed(connection, consume)


def may_configure(connection: BlockingConnection, queue: str) -> bool:
    """Whether the login may declare a queue, asked by one that exists."""

    def declare(channel: BlockingChannel) -> None:
        # refused in any case: for the missing right, which is looked at first, or as a queue of another kind
        channel.queue_declare(queue, durable=True, auto_delete=True)

    return _is_allowed(connection, declare)


def _is_allowed(connection: BlockingConnection, question: Callable[[BlockingChannel], None]) -> bool:
    channel = connection.channel()
    try:
        question(channel)
    except ChannelClosedByBroker as closed:
        return closed.reply_code != ACCESS_REFUSED
    finally:
        if channel.is_open:
            channel.close()
    return True
