"""From what an application wants done to a message that is fit to be sent."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from grid_async_task.application.due_time import delay_of, due_headers
from grid_async_task.application.envelope import task_properties
from grid_async_task.domain.errors import ValidationError
from grid_async_task.domain.json_text import NotJson, to_json
from grid_async_task.domain.message import TICKET_FIELD, InvalidMessage, MessageLimits, TaskMessage
from grid_async_task.domain.message_parsing import validate_message
from grid_async_task.ports import OutgoingMessage

#: bytes of a work queue's name: its dead letter queue's, `.dead` longer, has to fit too
MAX_WORK_QUEUE_BYTES = 250
#: AMQP has one byte for it
MAX_PRIORITY = 255


@dataclass(frozen=True, slots=True)
class PreparedTask:
    """A valid task, and its message."""

    message: TaskMessage
    outgoing: OutgoingMessage
    #: the id was given by the caller: a task of that id may exist
    id_was_given: bool
    #: by the producer's own clock, the moment before which the task does not begin; None: at once
    due_monotonic: float | None = None


class Preparation:
    """Checks tasks before anything is sent, by SPEC section 2."""

    def __init__(
        self,
        default_queue: str | None,
        limits: MessageLimits,
        exchange: str,
        monotonic: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        self._default_queue = default_queue
        self._limits = limits
        self._exchange = exchange
        self._monotonic = monotonic
        self._now = now

    def prepare(
        self, task_data: Any, task_id: str | None, queue_name: str | None, priority: int | None = None
    ) -> PreparedTask:
        """Raises `ValidationError`."""
        if not isinstance(task_data, dict):
            raise ValidationError(f"task_data must be a dict, not {type(task_data).__name__}")
        if task_data.get(TICKET_FIELD) is True:
            raise ValidationError(f"{TICKET_FIELD} is a field of our own: a worker would take the task for its ticket")
        queue = work_queue_name(queue_name or self._default_queue)
        given = task_id if task_id is not None else task_data.get("task_id")
        document = {**task_data, "task_id": str(uuid.uuid4()) if given is None else given}
        try:
            body = to_json(document).encode("utf-8")
        except NotJson as error:
            validate_message(document, self._limits)  # names the field
            raise InvalidMessage(error.kind, f"task_data: {error}") from None
        message = validate_message(document, self._limits, is_strict_json=True)
        if len(body) > self._limits.max_bytes:
            raise InvalidMessage(
                "too_large", f"the task has {len(body)} bytes as JSON, {self._limits.max_bytes} are allowed"
            )
        properties = {**task_properties(message.task_id), **_priority(priority)}
        outgoing = OutgoingMessage(queue, body, properties=properties, exchange=self._exchange)
        return PreparedTask(message, outgoing, id_was_given=given is not None)

    def put_off(self, task: PreparedTask, delay: float | None, at: datetime | None) -> PreparedTask:
        """The same task for later, if it is for later. Raises `ValidationError`.

        What waits goes by the delay queues, and from there to its queue: no exchange has a part in it.
        """
        now = self._now()
        delay_s = delay_of(delay, at, now)
        if not delay_s:
            return task
        waiting = replace(task.outgoing, delay_s=delay_s, headers=due_headers(delay_s, now), exchange="")
        return replace(task, outgoing=waiting, due_monotonic=self._monotonic() + delay_s)


def work_queue_name(name: Any) -> str:
    """The name, if a work queue can have it. Raises `ValidationError`."""
    if not name:
        raise ValidationError("no queue: name one, or set GRID_ASYNC_TASK_QUEUE")
    if (
        not isinstance(name, str)
        or not name.isprintable()
        or len(name.encode("utf-8", "replace")) > MAX_WORK_QUEUE_BYTES
    ):
        raise ValidationError(f"{name!r} is no queue's name: 1 to {MAX_WORK_QUEUE_BYTES} bytes, no control characters")
    return name


def _priority(value: Any) -> dict[str, int]:
    if value is None:
        return {}
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_PRIORITY:
        raise ValidationError(f"priority must be a whole number from 0 to {MAX_PRIORITY}, not {value!r}")
    return {"priority": value}
