"""Log lines of a handler that has a process of its own: they end where the worker's lines do."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import structlog

from grid_async_task.domain.errors import TimeoutError
from grid_async_task.logs.lines import Event, as_record, complete, event_of
from grid_async_task.logs.masking import mask_secrets

#: a line on its way: its fields, complete, plain JSON data
Line = dict[str, Any]


def forward_logs(log_level: str, send: Callable[[Line], None]) -> None:
    """In the handler's process: what it logs, through structlog or `logging`, is handed to `send`."""
    level: int = logging.getLevelName(log_level)
    root = logging.getLogger()
    root.setLevel(level)
    root.handlers[:] = [_Forwarding(send)]
    structlog.configure(
        processors=[structlog.stdlib.add_logger_name, *complete, as_record],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def write_forwarded(line: Line) -> None:
    """In the worker: write the line, with the fields of the task whose context this is called in."""
    event = Event(mask_secrets(None, "", {**structlog.contextvars.get_contextvars(), **line}))
    level = logging.getLevelName(str(event.get("level", "info")).upper())
    logger = logging.getLogger(str(event.get("logger", "")))
    if isinstance(level, int) and logger.isEnabledFor(level):
        fields = {"levelno": level, "levelname": logging.getLevelName(level), "name": logger.name, "msg": event}
        logger.handle(logging.makeLogRecord(fields))


class _Forwarding(logging.Handler):
    def __init__(self, send: Callable[[Line], None]) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._send({"logger": record.name, **event_of(record)})
        except TimeoutError:
            raise  # no error of ours: the time limit struck while the task was logging
        except Exception:
            self.handleError(record)
