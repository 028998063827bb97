"""How long ago, as a person types it."""

from __future__ import annotations

import re

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
#: databases count no further back than to the year 1000 or so
LONGEST_S = 100 * 365 * 86_400
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")


def seconds_of(text: str) -> float:
    """`90s`, `15m`, `2h`, `30d`, `1w`, also `1d12h`. Raises `ValueError`."""
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is no duration: a number and a unit (s, m, h, d, w), for example 2h or 30d")
    seconds = sum(float(number) * SECONDS[unit] for number, unit in parts)
    if seconds > LONGEST_S:
        raise ValueError(f"{text!r} is too long: 100 years at most")
    return seconds
