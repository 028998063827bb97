"""AsyncAPI 3.0: who sends what over which queue, seen from the worker."""

from __future__ import annotations

from typing import Any

from grid_async_task.domain.message import DEFAULT_CALLBACK_QUEUE, REASONS
from grid_async_task.protocol.callback_schema import callback_schema
from grid_async_task.protocol.message_schema import message_schema
from grid_async_task.protocol.progress_schema import progress_schema
from grid_async_task.protocol.texts import wire_time

#: raised where a body that was valid becomes invalid, or means something else
PROTOCOL_VERSION = "2.0.0"

_DURABLE_QUEUE = {
    "amqp": {
        "is": "queue",
        "queue": {"durable": True, "exclusive": False, "autoDelete": False},
        "bindingVersion": "0.3.0",
    }
}


def asyncapi() -> dict[str, Any]:
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "grid_async_task",
            "version": PROTOCOL_VERSION,
            "description": "Tasks as JSON messages on RabbitMQ, and the callbacks of finished tasks.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "broker": {"host": "localhost:5672", "protocol": "amqp", "description": "RabbitMQ: AMQP_URL."},
            "receiver": {
                "host": "example.com",
                "protocol": "https",
                "description": "Whoever the message's callback_url names; also plain http.",
            },
        },
        "channels": _channels(),
        "operations": _operations(),
        "components": {
            "schemas": {
                "task": _embedded(message_schema()),
                "callback": _embedded(callback_schema()),
                "progress": _embedded(progress_schema()),
            },
            "messages": _messages(),
        },
    }


def _channels() -> dict[str, Any]:
    queue = {"description": "The work queue: QUEUE.", "default": "task_queue"}
    return {
        "tasks": {
            "address": "{queue}",
            "description": "Published through the default exchange, the queue's name as the routing key."
            " Publishers do not declare the queue: the worker and `migrate` do.",
            "servers": [{"$ref": "#/servers/broker"}],
            "parameters": {"queue": queue},
            "messages": {"task": {"$ref": "#/components/messages/task"}},
            "bindings": _DURABLE_QUEUE,
        },
        "deadLetters": {
            "address": "{queue}.dead",
            "description": "What can't be a task, with its original body and properties.",
            "servers": [{"$ref": "#/servers/broker"}],
            "parameters": {"queue": queue},
            "messages": {"deadLetter": {"$ref": "#/components/messages/deadLetter"}},
            "bindings": _DURABLE_QUEUE,
        },
        "replies": {
            "address": "{replyQueue}",
            "description": "Callbacks of the type rabbitmq: persistent, confirmed, through the default exchange.",
            "servers": [{"$ref": "#/servers/broker"}],
            "parameters": {
                "replyQueue": {"description": "callback_data.queue_name", "default": DEFAULT_CALLBACK_QUEUE}
            },
            "messages": {"reply": {"$ref": "#/components/messages/reply"}},
            "bindings": _DURABLE_QUEUE,
        },
        "webhooks": {
            "address": None,
            "description": "Callbacks of the type http: a POST to the message's callback_url. 200 and nothing else"
            " counts as delivered; it is tried again after 1, 5 and 30 s.",
            "servers": [{"$ref": "#/servers/receiver"}],
            "messages": {"webhook": {"$ref": "#/components/messages/webhook"}},
        },
    }


def _operations() -> dict[str, Any]:
    return {
        "runTask": {
            "action": "receive",
            "channel": {"$ref": "#/channels/tasks"},
            "summary": "A worker takes a task. Acknowledged only once its outcome is committed.",
            "bindings": {"amqp": {"ack": True, "bindingVersion": "0.3.0"}},
        },
        "buryMessage": {
            "action": "send",
            "channel": {"$ref": "#/channels/deadLetters"},
            "summary": "A message that can't be a task is kept.",
        },
        "reply": {
            "action": "send",
            "channel": {"$ref": "#/channels/replies"},
            "summary": "The callback of a finished task, as a message.",
            "bindings": {"amqp": {"deliveryMode": 2, "bindingVersion": "0.3.0"}},
        },
        "callBack": {
            "action": "send",
            "channel": {"$ref": "#/channels/webhooks"},
            "summary": "The callback of a finished task, over HTTP.",
            "bindings": {"http": {"method": "POST", "bindingVersion": "0.3.0"}},
        },
    }


def _messages() -> dict[str, Any]:
    callback = {"contentType": "application/json", "payload": {"$ref": "#/components/schemas/callback"}}
    return {
        "task": {
            "title": "Task",
            "contentType": "application/json",
            "headers": {
                "type": "object",
                "properties": {
                    "x-grid-due": wire_time("When the task may begin at the earliest; absent: at once."),
                    "traceparent": {"type": "string", "description": "W3C Trace Context, where the producer traces."},
                    "tracestate": {"type": "string", "description": "The same."},
                },
            },
            "payload": {"$ref": "#/components/schemas/task"},
        },
        "deadLetter": {
            "title": "Dead letter",
            "description": "Any bytes, with the headers that it came with and these.",
            "contentType": "application/octet-stream",
            "headers": {
                "type": "object",
                "required": ["x-grid-reason", "x-grid-error", "x-grid-queue", "x-grid-worker", "x-grid-dead-at"],
                "properties": {
                    "x-grid-reason": {"enum": list(REASONS)},
                    "x-grid-error": {"type": "string", "description": "A sentence with the cure."},
                    "x-grid-queue": {"type": "string", "description": "The work queue that it came from."},
                    "x-grid-worker": {"type": "string", "description": "The worker that refused it."},
                    "x-grid-dead-at": wire_time("When it was refused."),
                },
            },
        },
        "reply": {"title": "Callback on a reply queue", **callback},
        "webhook": {
            "title": "Callback over HTTP",
            **callback,
            "headers": {
                "type": "object",
                "required": ["webhook-id"],
                "properties": {
                    "webhook-id": {"type": "string", "description": "The callback's id, the same over all repeats."},
                    "webhook-timestamp": {
                        "type": "string",
                        "pattern": "^[0-9]+$",
                        "description": "Seconds; where requests are signed (CALLBACK_SECRET).",
                    },
                    "webhook-signature": {
                        "type": "string",
                        "description": "By the Standard Webhooks convention, where requests are signed.",
                    },
                },
            },
        },
    }


def _embedded(schema: dict[str, Any]) -> dict[str, Any]:
    """Inside the document its dialect is understood."""
    return {name: part for name, part in schema.items() if name != "$schema"}
