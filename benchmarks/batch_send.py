"""Messages a second of `batch_send_tasks`, beside pika with its confirms pipelined by hand."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from typing import Any

import pika

from benchmarks.figures import Figure, Result, at_least, ratios
from benchmarks.rounds import Effort, interleaved
from benchmarks.site import Site, channel_to, new_queue, remove
from grid_async_task import Settings, bootstrap


def measure(site: Site, effort: Effort) -> Result:
    queue = new_queue()
    with channel_to(site.amqp_url) as channel:
        channel.queue_declare(queue, durable=True)
        rates = interleaved(
            effort.rounds,
            {
                "raw": lambda: _raw(site, queue, effort.batch, channel),
                "sent": lambda: _sent(site, queue, effort.batch, channel, record=False),
                "recorded": lambda: _sent(site, queue, effort.batch, channel, record=True),
            },
        )
    remove(site.amqp_url, queue)
    return Result(
        [
            Figure("pika with confirms pipelined by hand", "messages/s", rates["raw"]),
            Figure("batch_send_tasks", "messages/s", rates["sent"]),
            Figure("batch_send_tasks : pika by hand", "x", ratios(rates["sent"], rates["raw"]), at_least(0.8)),
            Figure("batch_send_tasks, tasks recorded in the table too", "messages/s", rates["recorded"]),
        ]
    )


def _sent(site: Site, queue: str, messages: int, channel: Any, *, record: bool) -> float:
    settings = Settings(amqp_url=site.amqp_url, mysql_url=site.mysql_url, queue=queue)
    producer = bootstrap.create_producer(settings=settings, record_pending=record)
    try:
        producer.send_task({"n": 0})  # connects
        tasks = [{"n": 1}] * messages
        return _rate(messages, lambda: producer.batch_send_tasks(tasks))
    finally:
        producer.close()
        channel.queue_purge(queue)


def _raw(site: Site, queue: str, messages: int, channel: Any) -> float:
    rate = _ByHand(site.amqp_url, queue, messages).run()
    channel.queue_purge(queue)
    return rate


def _rate(messages: int, send: Callable[[], object]) -> float:
    began = time.perf_counter()
    send()
    return messages / (time.perf_counter() - began)


class _ByHand:
    """Writes everything, then waits until the broker has confirmed the last one."""

    def __init__(self, amqp_url: str, queue: str, messages: int) -> None:
        self._queue = queue
        self._messages = messages
        self._began = self._ended = 0.0
        self._connection = pika.SelectConnection(
            pika.URLParameters(amqp_url),
            on_open_callback=self._open,
            on_close_callback=lambda *_: self._connection.ioloop.stop(),
        )

    def run(self) -> float:
        self._connection.ioloop.start()
        self._connection.ioloop.close()
        return self._messages / (self._ended - self._began)

    def _open(self, connection: Any) -> None:
        connection.channel(
            on_open_callback=lambda channel: channel.confirm_delivery(
                self._on_confirm, callback=lambda _: self._send(channel)
            )
        )

    def _send(self, channel: Any) -> None:
        properties = pika.BasicProperties(delivery_mode=2, content_type="application/json")
        self._began = time.perf_counter()
        for _ in range(self._messages):
            body = json.dumps({"task_id": str(uuid.uuid4()), "data": {"n": 1}}).encode()
            channel.basic_publish("", self._queue, body, properties, mandatory=True)

    def _on_confirm(self, frame: Any) -> None:
        # one queue: its confirms come in the order of the messages
        if frame.method.delivery_tag == self._messages:
            self._ended = time.perf_counter()
            self._connection.close()
