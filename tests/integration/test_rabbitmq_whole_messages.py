"""A message leaves in one write, whatever pika's own way is."""

from __future__ import annotations

import pika
import pytest
from pika.adapters.select_connection import SelectConnection
from pika.channel import Channel

from grid_async_task.adapters.rabbitmq import RabbitMessagePublisher
from grid_async_task.adapters.rabbitmq.whole_messages import WholeMessageConnection
from grid_async_task.ports import OutgoingMessage
from tests.servers.rabbitmq import RabbitServer, new_queue_name

#: from nothing to several frames of AMQP's usual 128 KiB
SIZES = (1, 0, 300_000, 7, 131_000, 132_000, 5, 0)


@pytest.mark.parametrize(("kind", "writes"), [(SelectConnection, 3), (WholeMessageConnection, 1)])
def test_the_frames_of_a_message_are_one_write(
    rabbitmq: RabbitServer, kind: type[SelectConnection], writes: int
) -> None:
    queue = new_queue_name()
    seen: list[int] = []

    def opened(channel: Channel) -> None:
        channel.queue_declare(queue, auto_delete=True, callback=lambda _: publish(channel))

    def publish(channel: Channel) -> None:
        before = connection.frames_sent
        channel.basic_publish("", queue, b"body")
        seen.append(connection.frames_sent - before)
        channel.basic_consume(queue, lambda _channel, _method, _properties, body: arrived(body), auto_ack=True)

    def arrived(body: bytes) -> None:
        assert body == b"body"
        connection.close()

    connection = kind(
        pika.URLParameters(rabbitmq.url),
        on_open_callback=lambda opening: opening.channel(on_open_callback=opened),
        on_close_callback=lambda *_: connection.ioloop.stop(),
    )
    connection.ioloop.start()
    connection.ioloop.close()
    assert seen == [writes]


def test_messages_of_all_sizes_arrive_whole_and_in_order(rabbitmq: RabbitServer) -> None:
    queue = new_queue_name()
    bodies = [bytes([index]) * size for index, size in enumerate(SIZES)]
    publisher = RabbitMessagePublisher(rabbitmq.url)
    publisher.declare(queue)
    assert publisher.publish_many([OutgoingMessage(queue, body) for body in bodies]) == [None] * len(bodies)
    publisher.close()
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        channel = connection.channel()
        assert [channel.basic_get(queue, auto_ack=True)[2] for _ in bodies] == bodies
