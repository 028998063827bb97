"""A task's message from outside: its properties, and the numbers that go with sending one again."""

from __future__ import annotations

from grid_async_task.domain.message import MAX_QUEUE_NAME_BYTES

#: seconds after which a spare ticket comes, should a command die between its commit and its publish
SPARE_TICKET_S = 30.0
#: deliveries after which a message is replaced by a copy: quorum queues drop one at their delivery limit (20)
MANY_DELIVERIES = 10
#: bytes; like a queue's name, an AMQP short string
MAX_MESSAGE_ID_BYTES = MAX_QUEUE_NAME_BYTES


def task_properties(task_id: str) -> dict[str, str]:
    """The AMQP properties of a message about this task. A task's id may be longer than a message's can be."""
    properties = {"content_type": "application/json"}
    if len(task_id.encode("utf-8")) <= MAX_MESSAGE_ID_BYTES:
        properties["message_id"] = task_id
    return properties
