"""A task's message from outside: its properties, the message of a task in the table, and the numbers for sending it."""

from __future__ import annotations

from grid_async_task.domain.message import MAX_QUEUE_NAME_BYTES, Ticket
from grid_async_task.domain.task import Task
from grid_async_task.ports import OutgoingMessage

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


def message_of(task: Task, delay_s: float = 0.0) -> OutgoingMessage:
    """The message that asks for this task, once more; of a large one the id only."""
    return OutgoingMessage(task.queue, task.to_ticket_body(), delay_s=delay_s, properties=task_properties(task.id))


def bare_ticket_of(task: Task, delay_s: float = 0.0) -> OutgoingMessage:
    """For a task that is over and owes a callback: were its row pruned meanwhile, it must not run again."""
    return OutgoingMessage(task.queue, Ticket(task.id).to_body(), delay_s=delay_s, properties=task_properties(task.id))
