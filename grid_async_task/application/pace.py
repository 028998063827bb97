"""How many tasks are worth a common commit, by how long the tasks of late have taken."""

from __future__ import annotations

#: seconds that the handlers of one group may take together; no outcome waits longer for the company of others
GROUP_TIME_S = 0.005
#: tasks of one group at most, however short they are
MOST_TOGETHER = 100
#: how much of the estimate the newest task is
SHARE_OF_NEWEST = 0.1


class Pace:
    """An estimate that rises at once with a long task, and falls slowly with short ones."""

    def __init__(self) -> None:
        self._seconds: float | None = None

    def took(self, seconds: float) -> None:
        """A handler has run for so long."""
        if self._seconds is None or seconds > self._seconds:
            self._seconds = seconds
        else:
            self._seconds += SHARE_OF_NEWEST * (seconds - self._seconds)

    @property
    def group_size(self) -> int:
        """1 while nothing is known."""
        if self._seconds is None:
            return 1
        return max(1, min(MOST_TOGETHER, int(GROUP_TIME_S / max(self._seconds, 1e-9))))
