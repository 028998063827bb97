"""Measures what a message costs RabbitMQ."""

from __future__ import annotations

import uuid

import pika

from benchmarks.scale.costs import IDLE_CONNECTIONS, cost_of
from benchmarks.scale.processes import cpu_seconds, resident_bytes
from benchmarks.scale.service_times import QueueTimes
from tests.servers.rabbitmq import RabbitServer
from tests.waiting import eventually


class BrokerBench:
    def __init__(self, server: RabbitServer, messages: int) -> None:
        self._url = server.url
        self._messages = messages
        self._pid = int(server.run("eval", "os:getpid().").strip().strip('"'))

    def measure(self, queue_type: str) -> QueueTimes:
        """Published all at once, as by many producers, and consumed with prefetch 1: one acknowledgement each."""
        queue = f"scale-{uuid.uuid4().hex[:8]}"
        body, properties = b'{"task_id": "' + b"x" * 36 + b'", "data": {"n": 1}}', pika.BasicProperties(delivery_mode=2)
        with pika.BlockingConnection(pika.URLParameters(self._url)) as connection:
            channel = connection.channel()
            channel.queue_declare(queue, durable=True, arguments={"x-queue-type": queue_type})
            channel.basic_qos(prefetch_count=1)
            before = cpu_seconds(self._pid)
            for _ in range(self._messages):
                channel.basic_publish("", queue, body, properties)
            eventually(lambda: channel.queue_declare(queue, passive=True).method.message_count == self._messages)
            publish_cpu_s = (cpu_seconds(self._pid) - before) / self._messages
            coming = channel.consume(queue)

            def consume() -> None:
                method = next(coming)[0]
                assert method is not None
                assert method.delivery_tag is not None
                channel.basic_ack(method.delivery_tag)

            consumed = cost_of(consume, self._messages, self._pid)
            channel.cancel()
            channel.queue_delete(queue)
        return QueueTimes(publish_cpu_s, consumed.cpu_s)

    def connection_bytes(self) -> float:
        """Of a connection with a channel that consumes."""
        before = resident_bytes(self._pid)
        connections = [pika.BlockingConnection(pika.URLParameters(self._url)) for _ in range(IDLE_CONNECTIONS)]
        for connection in connections:
            channel = connection.channel()
            channel.queue_declare("scale-idle", durable=True)
            channel.basic_consume("scale-idle", lambda *_: None)
        grown = resident_bytes(self._pid) - before
        for connection in connections:
            connection.close()
        return grown / IDLE_CONNECTIONS
