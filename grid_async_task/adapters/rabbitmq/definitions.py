"""What workers need on a broker, as the document that `rabbitmqctl import_definitions` reads.

For an administrator, where workers may not declare anything. It holds just what workers would
declare: the same functions speak, to a channel that writes everything down.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pika
from pika.channel import Channel

from grid_async_task.adapters.rabbitmq.delay_ladder import bind_to_ladder, declare_ladder
from grid_async_task.adapters.rabbitmq.topology import QueueType


def definitions(url: str, queues: Sequence[str], queue_type: QueueType | None) -> dict[str, list[dict[str, Any]]]:
    """Queues, the delay ladder, and the bindings between them, on the virtual host that the URL names."""
    written = _WrittenDown(pika.URLParameters(url).virtual_host)
    channel = cast(Channel, written)
    declare_ladder(channel, lambda _: None)
    for queue in queues:
        written.queue_declare(queue, durable=True, arguments={"x-queue-type": queue_type} if queue_type else None)
        bind_to_ladder(channel, queue, lambda _: None)
    return {"exchanges": written.exchanges, "queues": written.queues, "bindings": written.bindings}


class _WrittenDown:
    """As much of a channel as declarations need."""

    def __init__(self, virtual_host: str) -> None:
        self._virtual_host = virtual_host
        self.exchanges: list[dict[str, Any]] = []
        self.queues: list[dict[str, Any]] = []
        self.bindings: list[dict[str, Any]] = []

    def exchange_declare(
        self, exchange: str, *, exchange_type: str, durable: bool, arguments: Any = None, callback: Any = None
    ) -> None:
        declared = self._thing(exchange, durable, arguments)
        self.exchanges.append({**declared, "type": exchange_type, "internal": False})

    def queue_declare(self, queue: str, *, durable: bool, arguments: Any = None) -> None:
        self.queues.append(self._thing(queue, durable, arguments))

    def queue_bind(self, queue: str, exchange: str, routing_key: str = "", callback: Any = None) -> None:
        self._bind(exchange, queue, "queue", routing_key)

    def exchange_bind(self, destination: str, source: str, routing_key: str) -> None:
        self._bind(source, destination, "exchange", routing_key)

    def _thing(self, name: str, durable: bool, arguments: Any) -> dict[str, Any]:
        return {
            "vhost": self._virtual_host,
            "name": name,
            "durable": durable,
            "auto_delete": False,
            "arguments": arguments or {},
        }

    def _bind(self, source: str, destination: str, kind: str, routing_key: str) -> None:
        binding = {
            "vhost": self._virtual_host,
            "source": source,
            "destination": destination,
            "destination_type": kind,
            "routing_key": routing_key,
            "arguments": {},
        }
        if binding not in self.bindings:
            self.bindings.append(binding)
