"""What spans say, by the semantic conventions for messaging and HTTP.

Kept out, although the conventions have them: the full URL of a callback, in which secrets may
stand, and the messages of errors, for the same reason. The log has those, masked, with the
same trace id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from grid_async_task.domain.callback import Callback
from grid_async_task.domain.errors import ValidationError
from grid_async_task.domain.message_parsing import reply_queue
from grid_async_task.domain.task import Task
from grid_async_task.ports import OutgoingMessage

Attributes = dict[str, str | int]

ERROR_TYPE = "error.type"
OUTCOME = "grid_async_task.outcome"


def of_sending(system: str, message: OutgoingMessage, operation: str = "send") -> Attributes:
    attributes: Attributes = {
        "messaging.system": system,
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": destination(message.exchange, message.queue),
        "messaging.message.body.size": len(message.body),
        **_routing(system, message.queue),
    }
    if message_id := message.properties.get("message_id"):
        attributes["messaging.message.id"] = str(message_id)
    return attributes


def of_batch(system: str, messages: Sequence[OutgoingMessage]) -> Attributes:
    attributes: Attributes = {
        "messaging.system": system,
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.batch.message_count": len(messages),
    }
    if common := common_destination(messages):
        attributes["messaging.destination.name"] = common
    return attributes


def of_attempt(system: str, task: Task) -> Attributes:
    return {
        "messaging.system": system,
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": task.queue,
        "messaging.message.id": task.id,
        **_routing(system, task.queue),
        "grid_async_task.task.id": task.id,
        "grid_async_task.task.type": task.task_type,
        "grid_async_task.task.attempt": task.attempt,
    }


def of_callback(system: str, task: Task, callback: Callback) -> Attributes:
    ours: Attributes = {
        "grid_async_task.task.id": task.id,
        "grid_async_task.callback.id": callback.id,
        "grid_async_task.callback.type": callback.type,
        "grid_async_task.callback.try": task.callback_attempts,
    }
    if callback.type == "http":
        return ours | _of_request(callback.url or "")
    if callback.type == "rabbitmq" and (queue := queue_of(callback.data)):
        message = OutgoingMessage(queue, callback.body, properties={"message_id": callback.id})
        return ours | of_sending(system, message)
    return ours


def destination(exchange: str, queue: str) -> str:
    return f"{exchange}:{queue}" if exchange else queue


def common_destination(messages: Sequence[OutgoingMessage]) -> str | None:
    names = {destination(message.exchange, message.queue) for message in messages}
    return names.pop() if len(names) == 1 else None


def queue_of(callback_data: dict[str, Any]) -> str | None:
    """None where the callback names no queue: its sender will say so."""
    try:
        return reply_queue(callback_data)
    except ValidationError:
        return None


def _routing(system: str, queue: str) -> Mapping[str, str]:
    return {"messaging.rabbitmq.destination.routing_key": queue} if system == "rabbitmq" else {}


def _of_request(url: str) -> Attributes:
    attributes: Attributes = {"http.request.method": "POST"}
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:  # its sender will say what is wrong with it
        return attributes
    if host:
        attributes["server.address"] = host
        attributes["server.port"] = port or (443 if parts.scheme == "https" else 80)
    return attributes
