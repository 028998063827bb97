"""Between our messages and pika's properties."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

from pika import BasicProperties

from grid_async_task.ports import OutgoingMessage

#: AMQP's properties, other than the headers
PROPERTY_NAMES = (
    "content_type",
    "content_encoding",
    "delivery_mode",
    "priority",
    "correlation_id",
    "reply_to",
    "expiration",
    "message_id",
    "timestamp",
    "type",
    "user_id",
    "app_id",
    "cluster_id",
)
#: not sent on: `expiration` would let a waiting message die, the broker refuses another user's `user_id`
NOT_SENT = frozenset({"delivery_mode", "expiration", "user_id"})
_SENT = frozenset(PROPERTY_NAMES) - NOT_SENT
#: CC and BCC would route copies; with an old x-death a delayed message is lost as one that goes in circles
HEADERS_NOT_SENT = frozenset({"CC", "BCC", "x-death", "x-delivery-count"})

_LARGEST_INT = 2**63 - 1


def outgoing(message: OutgoingMessage, extra_headers: Mapping[str, str]) -> BasicProperties:
    """The properties of a persistent message; values AMQP has no form for are sent as text."""
    headers = {
        str(name): _header_value(value)
        for name, value in message.headers.items()
        if name not in HEADERS_NOT_SENT and not name.startswith(("x-first-death-", "x-last-death-"))
    }
    headers.update(extra_headers)
    others: dict[str, Any] = {name: value for name, value in message.properties.items() if name in _SENT}
    # the values are of AMQP's types, which the stubs narrow to names of their own
    return BasicProperties(headers=cast(Any, headers or None), delivery_mode=2, **others)


def incoming(properties: BasicProperties) -> dict[str, Any]:
    """Those that were set, without the headers."""
    return {name: value for name in PROPERTY_NAMES if (value := getattr(properties, name)) is not None}


def incoming_headers(properties: BasicProperties) -> dict[str, Any]:
    """The headers; a name that is not UTF-8, which pika leaves as bytes, is read as Latin-1."""
    headers = properties.headers or {}
    return {name if isinstance(name, str) else bytes(name).decode("latin-1"): value for name, value in headers.items()}


def _header_value(value: object) -> object:
    match value:
        case None | bool() | str() | bytes() | datetime():
            return value
        case int() if -_LARGEST_INT <= value <= _LARGEST_INT:
            return value
        case Mapping():
            return {str(name): _header_value(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_header_value(inner) for inner in value]
        case _:
            return str(value)  # pika decodes floats that it can't encode again
