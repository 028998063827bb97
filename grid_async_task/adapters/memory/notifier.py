from __future__ import annotations

from collections import deque

from grid_async_task.ports import Notice, Notifier


class RecordingNotifier(Notifier):
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        self._failures: deque[Exception] = deque()

    def fail_next(self, *failures: Exception) -> None:
        """Raise these, one a notice, before anything is told again."""
        self._failures.extend(failures)

    def notify(self, notice: Notice) -> None:
        if self._failures:
            raise self._failures.popleft()
        self.notices.append(notice)
