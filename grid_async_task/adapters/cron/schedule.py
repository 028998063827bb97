from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import cast
from zoneinfo import ZoneInfo

from grid_async_task.domain.errors import ConfigurationError
from grid_async_task.ports.recurring import Schedule

try:
    from croniter import croniter  # type: ignore[import-untyped]
except ImportError as error:
    raise ConfigurationError("recurring tasks need croniter: pip install 'grid-async-task[recurring]'") from error


#: croniter takes it for a random number, and draws anew each time
_DRAWN = re.compile(r"\b[Rr]\b")


class CronSchedule(Schedule):
    """A line of a crontab: minute, hour, day of the month, month, day of the week."""

    def __init__(self, line: str, time_zone: str = "UTC") -> None:
        """Raises `ValueError` for what is no such line, or for a time zone that this machine does not know."""
        if len(line.split()) != 5 or not croniter.is_valid(line):
            raise ValueError(f"schedule {line!r} is no crontab line of five fields, for example 30 2 * * 1-5")
        try:
            self._zone = ZoneInfo(time_zone)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"time_zone {time_zone!r} is unknown; it is a name such as Asia/Shanghai") from None
        if _DRAWN.search(line):
            raise ValueError(f"schedule {line!r} is drawn by lot (R): its times have to be the same at each look")
        self._line = line
        try:
            self.latest(datetime.now(timezone.utc))
        except ValueError as error:
            raise ValueError(f"schedule {line!r} is never due: {error}") from None

    def latest(self, now: datetime) -> datetime:
        # croniter looks for what is before: a time that is reached this very second counts
        just_after = now.astimezone(self._zone).replace(microsecond=0) + timedelta(seconds=1)
        return cast(datetime, croniter(self._line, just_after).get_prev(datetime)).astimezone(timezone.utc)
