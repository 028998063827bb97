"""Logs of the commands for people: what they print is the answer, so only warnings stand beside it."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog


def warnings_only() -> None:
    """One line each, on standard error. The worker has logs of its own."""
    structlog.configure(
        processors=[structlog.processors.add_log_level, _as_a_line],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def _as_a_line(_logger: Any, _method: str, event: Any) -> str:
    level, what = event.pop("level"), event.pop("event")
    facts = ", ".join(f"{name}={value}" for name, value in event.items() if name != "exc_info")
    return f"{level}: {what}" + (f" ({facts})" if facts else "")
