"""When a message's task may begin, said by a header that stays with the message for as long as it waits.

The row says it too (`wake_at` of a `pending` task), and it wins. The header is for a task that has none:
its producer records nothing, or could not, and one climb of the delay queues covers 36 hours only.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from grid_async_task.domain.errors import ValidationError
from grid_async_task.domain.verdict import EARLY_S
from grid_async_task.domain.wire_time import to_wire

#: the header: a time as on the wire, UTC, whole seconds
DUE_HEADER = "x-grid-due"
#: seconds: what is sent for later than that is a mistake
MAX_DELAY_S = 10 * 366 * 86_400.0


def delay_of(delay: Any, at: Any, now: datetime) -> float:
    """Seconds from now, of one of the two ways to say it; 0 of neither, and of what is past. Raises `ValidationError`.

    A time without a zone is UTC.
    """
    if delay is not None and at is not None:
        raise ValidationError("a task has either a delay or a time (at), not both")
    if at is not None:
        if not isinstance(at, datetime):
            raise ValidationError(f"at must be a datetime, not {type(at).__name__}")
        moment = at if at.tzinfo else at.replace(tzinfo=timezone.utc)
        delay = max(0.0, (moment - now).total_seconds())
    if delay is None:
        return 0.0
    if isinstance(delay, bool) or not isinstance(delay, int | float) or not 0 <= delay <= MAX_DELAY_S:
        raise ValidationError(f"delay must be seconds, from 0 to {MAX_DELAY_S:.0f}, not {delay!r}")
    return float(delay)


def due_headers(delay_s: float, now: datetime) -> dict[str, str]:
    """For a message that is sent now with this delay; none for one without."""
    if not delay_s:
        return {}
    due = now + timedelta(seconds=delay_s)
    return {DUE_HEADER: to_wire(due + timedelta(microseconds=-due.microsecond % 1_000_000))}


def seconds_early(headers: Mapping[str, Any], now: datetime) -> float:
    """How long a message with these headers has to wait still; 0 for one that names no time, or no good one."""
    due = headers.get(DUE_HEADER)
    if isinstance(due, bytes):
        due = due.decode("utf-8", "replace")
    if not isinstance(due, str):
        return 0.0
    try:
        moment = datetime.fromisoformat(due.replace("Z", "+00:00"))
    except ValueError:
        return 0.0
    left_s = ((moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)) - now).total_seconds()
    return left_s if EARLY_S < left_s <= MAX_DELAY_S else 0.0
