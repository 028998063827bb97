"""The header by which a receiver says when it wants to be asked again."""

from __future__ import annotations

from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

#: longer numbers mean nothing sensible
_MAX_DIGITS = 9


def seconds_of(value: str | None, now: datetime) -> float | None:
    """Seconds from now: of a number or of an HTTP date. None where there is nothing usable."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:_MAX_DIGITS]) if len(value) <= _MAX_DIGITS else float("9" * _MAX_DIGITS)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - now).total_seconds())
