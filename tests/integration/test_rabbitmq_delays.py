from __future__ import annotations

import time
from collections.abc import Iterator

import pika
import pytest

from grid_async_task.adapters.rabbitmq import RabbitMessagePublisher
from grid_async_task.adapters.rabbitmq.delay_ladder import MAX_DELAY_S, UNROUTED, rung_name
from grid_async_task.adapters.rabbitmq.source import RabbitMessageSource
from grid_async_task.ports import OutgoingMessage
from tests.servers.rabbitmq import RabbitServer, new_queue_name


@pytest.fixture
def queue() -> str:
    return new_queue_name()


@pytest.fixture
def publisher(rabbitmq: RabbitServer) -> Iterator[RabbitMessagePublisher]:
    publisher = RabbitMessagePublisher(rabbitmq.url)
    yield publisher
    publisher.close()


@pytest.fixture
def source(rabbitmq: RabbitServer, queue: str) -> Iterator[RabbitMessageSource]:
    source = RabbitMessageSource(rabbitmq.url, queue, prefetch=20)
    yield source
    source.close()


def delete_queue(url: str, queue: str) -> None:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        connection.channel().queue_delete(queue)


def wait_for_ready(url: str, queue: str, count: int) -> None:
    deadline = time.monotonic() + 20
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        while channel.queue_declare(queue, passive=True).method.message_count != count:
            assert time.monotonic() < deadline, f"never {count} messages in {queue}"
            connection.sleep(0.05)


def test_no_delay_comes_early_and_none_much_too_late(
    publisher: RabbitMessagePublisher, source: RabbitMessageSource, queue: str
) -> None:
    publisher.declare(queue)
    delays = [1, 2, 3, 4, 5, 6, 1.5, 2.5]
    before = time.monotonic()
    messages = [OutgoingMessage(queue, str(delay).encode(), delay_s=delay) for delay in delays]
    assert publisher.publish_many(messages) == [None] * len(messages)
    published = time.monotonic()
    for _ in delays:
        delivery = source.next(15)
        assert delivery is not None
        delay_s = float(delivery.body)
        now = time.monotonic()
        assert now - before >= delay_s
        assert now - published < delay_s + 1 + 3
        source.ack(delivery)
    assert source.next(0.2) is None


def test_a_message_that_is_parked_again_and_again_comes_back_each_time(
    publisher: RabbitMessagePublisher, source: RabbitMessageSource, queue: str
) -> None:
    # all headers are passed on, as a careless caller would: an old x-death must not end it as "a cycle"
    # (3 s lead from one rung to another, and the x-death of the last time names both)
    publisher.publish(OutgoingMessage(queue, b"again", headers={"n": 0}, delay_s=3))
    for number in range(3):
        delivery = source.next(10)
        assert delivery is not None, f"lost after {number} times"
        publisher.publish(OutgoingMessage(queue, delivery.body, headers=delivery.headers, delay_s=3))
        source.ack(delivery)


def test_a_delay_beyond_the_ladder_waits_as_long_as_it_can(publisher: RabbitMessagePublisher, queue: str) -> None:
    top = rung_name(16)
    publisher.publish(OutgoingMessage(queue, b"next week", delay_s=MAX_DELAY_S * 5))
    assert publisher.declare(top).ready >= 1


def test_the_message_of_a_deleted_queue_is_kept_and_rescued(
    rabbitmq: RabbitServer, publisher: RabbitMessagePublisher, queue: str
) -> None:
    messages = [OutgoingMessage(queue, b"%d" % n, delay_s=1, properties={"message_id": f"m{n}"}) for n in range(3)]
    assert publisher.publish_many(messages) == [None] * 3
    delete_queue(rabbitmq.url, queue)
    wait_for_ready(rabbitmq.url, UNROUTED, 3)

    assert publisher.rescue_stranded() == 3

    source = RabbitMessageSource(rabbitmq.url, queue, prefetch=3)
    try:
        rescued = [source.next(5) for _ in range(3)]
        came = {(delivery.body, delivery.properties["message_id"]) for delivery in rescued if delivery}
        assert came == {(b"0", "m0"), (b"1", "m1"), (b"2", "m2")}
    finally:
        source.close()
    wait_for_ready(rabbitmq.url, UNROUTED, 0)
    assert publisher.rescue_stranded() == 0


def test_the_message_of_a_queue_made_anew_without_its_binding_is_rescued(
    rabbitmq: RabbitServer, publisher: RabbitMessagePublisher, queue: str
) -> None:
    publisher.publish(OutgoingMessage(queue, b"x", delay_s=1))
    delete_queue(rabbitmq.url, queue)
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        connection.channel().queue_declare(queue, durable=True)
    wait_for_ready(rabbitmq.url, UNROUTED, 1)
    assert publisher.rescue_stranded() == 1
    assert publisher.declare(queue).ready == 1


def test_what_is_not_ours_stays_where_it_is(rabbitmq: RabbitServer, publisher: RabbitMessagePublisher) -> None:
    publisher.declare(new_queue_name())  # the ladder
    publisher.publish(OutgoingMessage(UNROUTED, b"who am I"))
    assert publisher.rescue_stranded() == 0
    wait_for_ready(rabbitmq.url, UNROUTED, 1)
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        _found, _properties, body = connection.channel().basic_get(UNROUTED, auto_ack=True)
    assert body == b"who am I"


def test_parked_messages_survive_the_kill_of_the_broker(
    rabbitmq: RabbitServer, publisher: RabbitMessagePublisher, source: RabbitMessageSource, queue: str
) -> None:
    messages = [OutgoingMessage(queue, b"%d" % n, delay_s=1 + n % 8) for n in range(40)]
    assert publisher.publish_many(messages) == [None] * 40
    rabbitmq.stop()
    rabbitmq.start()
    came = set()
    deadline = time.monotonic() + 40
    while len(came) < 40 and time.monotonic() < deadline:
        delivery = source.next(1)
        if delivery is not None:
            came.add(delivery.body)
            source.ack(delivery)
    assert came == {message.body for message in messages}
