"""The task message of SPEC section 2, and what may be wrong with one; `message_parsing.py` reads it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from grid_async_task.domain.errors import ValidationError
from grid_async_task.domain.json_text import NotJson, to_json

MAX_ID_CHARACTERS = 255
MAX_TYPE_CHARACTERS = 100
MAX_URL_CHARACTERS = 500
MAX_RETRY_COUNT = 1_000_000
#: an AMQP queue name is a short string
MAX_QUEUE_NAME_BYTES = 255

DEFAULT_TASK_TYPE = "default"
DEFAULT_CALLBACK_TYPE = "http"
DEFAULT_CALLBACK_QUEUE = "callback_queue"
BUILT_IN_CALLBACK_TYPES = frozenset({"http", "rabbitmq"})

#: why a message can't be a task: what stands in `x-grid-reason` of a dead letter
REASONS = (
    "empty",
    "too_large",
    "java_serialized",
    "not_utf8",
    "byte_order_mark",
    *NotJson.KINDS,
    "not_an_object",
    "task_id",
    "task_type",
    "data",
    "max_retry_count",
    "callback_url",
    "callback_type",
    "callback_data",
    "unknown_fields",
    "refused_by_database",
)

#: in a body, this field says that it is no task but only the ticket of one that has a row
TICKET_FIELD = "grid_async_task_ticket"


@dataclass(frozen=True, slots=True)
class CallbackRequest:
    """Whom to tell about the end of a task, and how. By default nobody."""

    url: str | None = None
    #: `http`, `rabbitmq`, or the name of a custom sink
    type: str = DEFAULT_CALLBACK_TYPE
    #: echoed back in the callback
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def is_asked(self) -> bool:
        """`http` needs a URL; any other type asks by itself."""
        return self.url is not None or self.type != DEFAULT_CALLBACK_TYPE


#: of a message that asks for none
NO_CALLBACK = CallbackRequest()


@dataclass(frozen=True, slots=True)
class TaskMessage:
    """A valid task message."""

    task_id: str
    task_type: str = DEFAULT_TASK_TYPE
    data: dict[str, Any] = field(default_factory=dict)
    #: None where the message names none: then the worker's setting counts
    max_retry_count: int | None = None
    callback: CallbackRequest = NO_CALLBACK
    #: fields we do not know, kept and handed to the handler
    extra: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object; what was absent stays absent."""
        message: dict[str, Any] = {"task_id": self.task_id}
        if self.task_type != DEFAULT_TASK_TYPE:
            message["task_type"] = self.task_type
        message["data"] = self.data
        if self.max_retry_count is not None:
            message["max_retry_count"] = self.max_retry_count
        if self.callback.url is not None:
            message["callback_url"] = self.callback.url
        if self.callback.type != DEFAULT_CALLBACK_TYPE:
            message["callback_type"] = self.callback.type
        if self.callback.data:
            message["callback_data"] = self.callback.data
        return {**self.extra, **message}

    def to_body(self) -> bytes:
        return to_json(self.to_dict()).encode("utf-8")


@dataclass(frozen=True)
class Ticket:
    """A message that says only: look at the row of this id. Where there is no row, nothing is owed."""

    task_id: str

    def to_body(self) -> bytes:
        return to_json({"task_id": self.task_id, TICKET_FIELD: True}).encode("utf-8")


@dataclass(frozen=True)
class MessageLimits:
    """What a worker accepts."""

    #: bytes of a message's body
    max_bytes: int = 8 * 1024 * 1024
    #: the callback types that this worker can serve; None: any name will do (a producer can't know)
    callback_types: Collection[str] | None = BUILT_IN_CALLBACK_TYPES


class InvalidMessage(ValidationError):
    """The message can't be a task. The text holds the cure."""

    def __init__(self, reason: str, message: str, salvaged: TaskMessage | None = None) -> None:
        super().__init__(message)
        #: one of `REASONS`
        self.reason = reason
        #: the parts that are valid, where a usable task id is among them
        self.salvaged = salvaged
