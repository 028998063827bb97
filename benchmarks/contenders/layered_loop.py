"""The raw loop with parts of the worker put in, to see what each of them costs.

`statements`: this project's table, its claim and its outcome, through its repository.
`source`: these, and this project's message source, with its I/O thread, in the place of pika's blocking connection.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator

import pika

from benchmarks.stopwatch import Stopwatch
from grid_async_task.adapters.rabbitmq import RabbitMessageSource
from grid_async_task.adapters.sql import SqlTaskRepository
from grid_async_task.domain.message import MessageLimits, TaskMessage
from grid_async_task.domain.message_parsing import parse_message
from grid_async_task.domain.outcome import Succeeded

Ack = Callable[[], None]


def by_blocking_connection(queue: str) -> Iterator[tuple[bytes, Ack]]:
    with pika.BlockingConnection(pika.URLParameters(os.environ["BENCH_AMQP_URL"])) as connection:
        channel = connection.channel()
        channel.basic_qos(prefetch_count=1)
        for method, _, body in channel.consume(queue):
            yield body, lambda tag=method.delivery_tag: channel.basic_ack(tag)


def by_our_source(queue: str) -> Iterator[tuple[bytes, Ack]]:
    source = RabbitMessageSource(os.environ["BENCH_AMQP_URL"], queue)
    while True:
        delivery = source.next(60)
        assert delivery is not None
        yield delivery.body, lambda delivery=delivery: source.ack(delivery)


def main(layer: str) -> None:
    watch, queue, limits = Stopwatch.from_environment(), os.environ["BENCH_QUEUE"], MessageLimits()
    repository = SqlTaskRepository(os.environ["BENCH_MYSQL_URL"])
    repository.prepare()
    for body, ack in {"statements": by_blocking_connection, "source": by_our_source}[layer](queue):
        message = parse_message(body, limits)
        assert isinstance(message, TaskMessage)
        task = repository.insert_claimed(message, queue=queue, owner="bench", lease_s=60, max_retry_count=3)
        assert task is not None
        watch.tick()
        assert repository.settle(task, Succeeded({}), None)
        ack()


if __name__ == "__main__":
    main(sys.argv[1])
