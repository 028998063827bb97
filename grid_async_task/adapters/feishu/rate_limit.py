"""How many cards a bot may send: 5 a second and 100 a minute."""

from __future__ import annotations

from collections import deque

#: how many, within how many seconds
LIMITS = ((5, 1.0), (100, 60.0))


class RateLimit:
    """Remembers when the last cards went. Not for several threads at once."""

    def __init__(self) -> None:
        self._sent: deque[float] = deque(maxlen=max(count for count, _ in LIMITS))

    def wait_s(self, now: float) -> float:
        """Seconds until the next card may go; 0 if it may go now."""
        waits = [0.0]
        for count, period_s in LIMITS:
            if len(self._sent) >= count:
                waits.append(self._sent[-count] + period_s - now)
        return max(waits)

    def count(self, now: float) -> None:
        """A card goes now."""
        self._sent.append(now)
