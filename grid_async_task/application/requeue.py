"""Publishing again all that waits in the table, after a queue was purged or its broker lost."""

from __future__ import annotations

from datetime import datetime

from grid_async_task.application.envelope import message_of
from grid_async_task.application.pages import pages
from grid_async_task.domain.task import Task, TaskStatus
from grid_async_task.ports import MessagePublisher, OutgoingMessage, TaskFilter, TaskRepository


def requeue(repository: TaskRepository, publisher: MessagePublisher, queue: str) -> int:
    """Publish the message of each waiting task of this queue; how many there were.

    A task whose message was there all the same then has two, which is harmless: the second finds the
    task taken. One that waits for a retry, or was sent for later, is published with the rest of its delay.
    Running tasks and due callbacks are not touched: the sweep looks after them.
    """
    publisher.declare(queue)
    return sum(
        _publish(page, repository, publisher)
        for status in TaskStatus
        if status.is_waiting
        for page in pages(repository, TaskFilter((status,), queue=queue))
    )


def _publish(tasks: list[Task], repository: TaskRepository, publisher: MessagePublisher) -> int:
    reading = repository.read(tasks[0].id)
    now = None if reading is None else reading.now
    messages = [_message_for(task, now) for task in tasks]
    errors = publisher.publish_many(messages)
    for task, message, error in zip(tasks, messages, errors, strict=True):
        if error is not None:
            raise error
        if task.status is TaskStatus.PENDING and task.wake_at is not None and not message.delay_s:
            repository.clear_owed(task.id, task.attempt)
    return len(tasks)


def _message_for(task: Task, now: datetime | None) -> OutgoingMessage:
    delay_s = 0.0
    if task.wake_at is not None and now is not None:
        delay_s = max(0.0, (task.wake_at - now).total_seconds())
    return message_of(task, delay_s)
