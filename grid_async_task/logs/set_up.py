"""Who gets which log lines."""

from __future__ import annotations

import io
import logging
import sys

import structlog

from grid_async_task.domain.errors import TimeoutError
from grid_async_task.logs.daily_file import DailyFile
from grid_async_task.logs.lines import JsonLines, TextLines, as_record, complete
from grid_async_task.logs.masking import mask_secrets, secrets_of
from grid_async_task.settings import Settings

#: a day has so many seconds
DAY_S = 86_400.0


class _WarningsOnly(structlog.make_filtering_bound_logger(logging.WARNING)):  # type: ignore[misc]
    """Its being in use says that nobody has configured more than `log_warnings_only` did."""


def log_warnings_only() -> None:
    """For a program that sends tasks or asks about them, and has configured nothing: warnings on standard error.

    structlog by itself would print every event to standard output, which belongs to the program.
    """
    if not structlog.is_configured():
        structlog.configure(wrapper_class=_WarningsOnly, logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))


def set_up_logging(settings: Settings) -> None:
    """Send the lines of structlog and `logging` to standard error and to a file in `LOG_DIR`.

    An application that has configured its own logging keeps it:

    - structlog configured: nothing is touched, and no file is written; the application's processors see our events.
    - `logging` has handlers on its root: they stay the only ones besides our file, with their formats and levels,
      and get our lines as text. `LOG_LEVEL` then holds for our own loggers and for the file.

    A second call changes nothing, except that the secrets of its settings are masked too.
    """
    mask_secrets.add(secrets_of(settings))
    if structlog.is_configured() and structlog.get_config()["wrapper_class"] is not _WarningsOnly:
        return
    level: int = logging.getLevelName(settings.log_level)
    root = logging.getLogger()
    if root.handlers:
        logging.getLogger("grid_async_task").setLevel(level)
    else:
        root.setLevel(level)
        root.addHandler(_standard_error(settings.log_format))
    root.addHandler(_file(settings, level))
    structlog.configure(
        processors=[structlog.stdlib.add_logger_name, *complete, as_record],
        # a line below the level is one call of a method that does nothing
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def _file(settings: Settings, level: int) -> logging.Handler:
    file = DailyFile(settings.log_dir, max_bytes=settings.log_max_size, retention_s=settings.log_retention * DAY_S)
    file.setFormatter(JsonLines())
    file.setLevel(level)
    return file


def _standard_error(log_format: str | None) -> logging.Handler:
    is_terminal = sys.stderr.isatty()
    handler = _StandardError(sys.stderr)
    if log_format == "text" or (log_format is None and is_terminal):
        handler.setFormatter(TextLines(colors=is_terminal))
    else:
        handler.setFormatter(JsonLines())
        if isinstance(sys.stderr, io.TextIOWrapper):  # a container without a locale would have ASCII
            sys.stderr.reconfigure(encoding="utf-8", errors="backslashreplace")
    return handler


class _StandardError(logging.StreamHandler):  # type: ignore[type-arg]  # generic only for type checkers
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        if isinstance(sys.exc_info()[1], TimeoutError):
            raise  # no error of ours: the time limit struck while the task was logging
        super().handleError(record)
