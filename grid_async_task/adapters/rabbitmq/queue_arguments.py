"""Learning how an existing queue was declared, without the management API.

A declaration with other arguments than the queue's own is refused with a text that names
the first difference. So it is declared again and again, each time with what was learned.
"""

from __future__ import annotations

import re
from typing import Any

from pika.adapters.blocking_connection import BlockingConnection
from pika.exceptions import ChannelClosedByBroker

from grid_async_task.adapters.rabbitmq.topology import PRECONDITION_FAILED

#: differences that are followed up; a queue has fewer arguments
MAX_QUESTIONS = 20

_DIFFERENCE = re.compile(r"inequivalent arg '([^']+)' for queue .* but current is (.*)$", re.DOTALL)
_VALUE = re.compile(r"(?:the value )?'(.*?)'(?: of type '(\w+)')?$", re.DOTALL)
_FLAGS = ("durable", "auto_delete", "exclusive")


def arguments_of(connection: BlockingConnection, queue: str) -> dict[str, Any] | None:
    """The queue's arguments, and `durable`; None where the broker does not let on. The queue has to exist."""
    flags: dict[str, Any] = {"durable": True}
    arguments: dict[str, Any] = {}
    for _ in range(MAX_QUESTIONS):
        channel = connection.channel()
        try:
            channel.queue_declare(queue, arguments=arguments or None, **flags)
        except ChannelClosedByBroker as closed:
            learned = _difference(closed.reply_text) if closed.reply_code == PRECONDITION_FAILED else None
            if learned is None:
                return None
            name, value = learned
            known = flags if name in _FLAGS else arguments
            if known.get(name) == value:
                return None  # not getting anywhere
            known[name] = value
        else:
            channel.close()
            return {**arguments, "durable": flags["durable"]}
    return None


def _difference(reply_text: str) -> tuple[str, Any] | None:
    """Name and value as the queue has them. A text that was cut short, at 255 bytes, tells nothing."""
    difference = _DIFFERENCE.search(reply_text)
    value = _VALUE.match(difference[2]) if difference is not None else None
    if difference is None or value is None:
        return None
    name, text, kind = difference[1], value[1], value[2]
    if text in ("true", "false") and kind in (None, "bool"):
        return name, text == "true"
    return name, int(text) if kind not in (None, "longstr") and re.fullmatch(r"-?\d+", text) else text
