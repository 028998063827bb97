"""From an event to a line. Whoever logs, through structlog or `logging`, gets the same fields."""

from __future__ import annotations

import json
import logging
from typing import Any

import structlog
from structlog.typing import EventDict

from grid_async_task.application.task_fields import fields_of_the_only_task
from grid_async_task.domain.errors import TimeoutError
from grid_async_task.logs.masking import mask_secrets, shown_value

#: what every record has; anything else came by `extra=`
_OF_ANY_RECORD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
#: JSON leaves them as they are, but many a reader takes them for the end of a line
_LINE_ENDS = {code: f"\\u{code:04x}" for code in (0x85, 0x2028, 0x2029)}
#: under this name a record keeps what it was turned into, for the next handler
_EVENT, _JSON = "grid_async_task_event", "grid_async_task_json"


class Event(dict[str, Any]):
    """The fields of a line, complete and masked. To handlers that are not ours it looks like a text."""

    def __str__(self) -> str:
        fields = (f"{name}={value!r}" for name, value in self.items() if name not in _FIRST and name != "logger")
        return " ".join((str(self.get("event", "")), *fields))


#: with these a line begins
_FIRST = ("timestamp", "level", "event")


def _with_fields_of_the_task(logger: object, method: str, event: EventDict) -> EventDict:
    return event if "task_id" in event else {**fields_of_the_only_task(), **event}


#: processors that make an event complete: the fields of the running task, level, time, traceback; secrets out
complete: tuple[structlog.typing.Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    _with_fields_of_the_task,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
    structlog.processors.format_exc_info,
    mask_secrets,
)


def as_record(logger: object, method: str, event: EventDict) -> tuple[tuple[Event], dict[str, Any]]:
    """The last processor: the event becomes the message of a `logging` record."""
    return (Event(event),), {}


class JsonLines(logging.Formatter):
    """One JSON object a line. Made once a record, for however many handlers."""

    def format(self, record: logging.LogRecord) -> str:
        line: str | None = getattr(record, _JSON, None)
        if line is None:
            line = _to_json(event_of(record))
            setattr(record, _JSON, line)
        return line


class TextLines(logging.Formatter):
    """For people at a terminal."""

    def __init__(self, *, colors: bool) -> None:
        super().__init__()
        # the other traceback formatters show local variables, and so secrets
        self._render = structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)

    def format(self, record: logging.LogRecord) -> str:
        return str(self._render(None, "", dict(event_of(record))))


def event_of(record: logging.LogRecord) -> Event:
    """What the record says, whoever has made it."""
    if isinstance(record.msg, Event):
        return record.msg
    event: Event | None = getattr(record, _EVENT, None)
    if event is None:
        event = _from_elsewhere(record)
        setattr(record, _EVENT, event)
    return event


def _from_elsewhere(record: logging.LogRecord) -> Event:
    extra = {name: value for name, value in vars(record).items() if name not in _OF_ANY_RECORD}
    event: Any = {**extra, "event": _message_of(record), "logger": record.name}
    if record.exc_info and record.exc_info[0]:
        event["exc_info"] = record.exc_info
    if record.stack_info:
        event["stack"] = record.stack_info
    for process in complete:
        event = process(None, record.levelname.lower(), event)
    return Event(event)


def _message_of(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except TimeoutError:
        raise  # the task's time limit, which struck here
    except Exception:  # placeholders and arguments do not fit
        return f"{shown_value(record.msg)} {shown_value(record.args)}"


def _to_json(event: Event) -> str:
    ordered = {name: event[name] for name in _FIRST if name in event} | event
    line = json.dumps(ordered, ensure_ascii=False)
    return line if line.isascii() else line.translate(_LINE_ENDS)
