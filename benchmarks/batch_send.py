"""Messages a second of `batch_send_tasks`, beside pika with its confirms pipelined by hand."""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from unittest.mock import patch

import pika

from benchmarks.figures import Figure, Result, at_least, ratios
from benchmarks.rounds import Effort, interleaved
from benchmarks.site import Site, channel_to, new_queue, remove
from grid_async_task import Settings, bootstrap
from grid_async_task.adapters.rabbitmq import confirms, whole_messages


@dataclass(frozen=True)
class Speed:
    messages_per_s: float
    #: of this process, for one message
    cpu_us: float


def measure(site: Site, effort: Effort) -> Result:
    queue = new_queue()

    def sent(*, record: bool = False) -> Speed:
        return _sent(site, queue, effort.batch, channel, record=record)

    def sent_with(module: ModuleType, constant: str, value: int) -> Speed:
        with patch.object(module, constant, value):
            return sent()

    with channel_to(site.amqp_url) as channel:
        channel.queue_declare(queue, durable=True)
        speeds = interleaved(
            effort.rounds,
            {
                "raw": lambda: _raw(site, queue, effort.batch, channel),
                "sent": sent,
                "encoded first": lambda: sent_with(confirms, "PIECE", effort.batch),
                "three writes": lambda: sent_with(whole_messages, "SMALL", 0),
                "recorded": lambda: sent(record=True),
            },
        )
    remove(site.amqp_url, queue)
    rates = {name: [speed.messages_per_s for speed in found] for name, found in speeds.items()}
    cpu = {name: [speed.cpu_us for speed in found] for name, found in speeds.items()}
    encoded_first, three_writes = "all encoded before the broker gets the first", "three writes a message, as by pika"
    return Result(
        [
            Figure("pika with confirms pipelined by hand", "messages/s", rates["raw"]),
            Figure("batch_send_tasks", "messages/s", rates["sent"]),
            Figure("batch_send_tasks : pika by hand", "x", ratios(rates["sent"], rates["raw"]), at_least(0.8)),
            Figure(f"batch_send_tasks, {encoded_first}", "messages/s", rates["encoded first"]),
            Figure("batch_send_tasks, tasks recorded in the table too", "messages/s", rates["recorded"]),
            Figure("processor time a message, batch_send_tasks", "us", cpu["sent"]),
            Figure(f"processor time a message, {three_writes}", "us", cpu["three writes"]),
            Figure("processor time a message, pika by hand", "us", cpu["raw"]),
        ]
    )


def _sent(site: Site, queue: str, messages: int, channel: Any, *, record: bool) -> Speed:
    settings = Settings(amqp_url=site.amqp_url, mysql_url=site.mysql_url, queue=queue)
    producer = bootstrap.create_producer(settings=settings, record_pending=record)
    try:
        producer.send_task({"n": 0})  # connects
        tasks = [{"n": 1}] * messages
        began, cpu_began = time.perf_counter(), time.process_time()
        producer.batch_send_tasks(tasks)
        return _speed(messages, time.perf_counter() - began, time.process_time() - cpu_began)
    finally:
        producer.close()
        channel.queue_purge(queue)


def _raw(site: Site, queue: str, messages: int, channel: Any) -> Speed:
    cpu_began = time.process_time()
    seconds = _ByHand(site.amqp_url, queue, messages).run()
    cpu_s = time.process_time() - cpu_began
    channel.queue_purge(queue)
    return _speed(messages, seconds, cpu_s)


def _speed(messages: int, seconds: float, cpu_s: float) -> Speed:
    return Speed(messages / seconds, cpu_s / messages * 1e6)


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
        """Seconds from the first write to the last confirm."""
        self._connection.ioloop.start()
        self._connection.ioloop.close()
        return self._ended - self._began

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
