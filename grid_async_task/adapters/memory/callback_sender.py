from __future__ import annotations

from collections import deque

from grid_async_task.domain.callback import Callback


class RecordingCallbackSender:
    """Keeps what it was given, in the order of arrival."""

    def __init__(self) -> None:
        self.callbacks: list[Callback] = []
        self._failures: deque[Exception] = deque()

    def send(self, callback: Callback) -> None:
        if self._failures:
            raise self._failures.popleft()
        self.callbacks.append(callback)

    def fail_next(self, *failures: Exception) -> None:
        """Raise these, one a try, before anything is accepted again."""
        self._failures.extend(failures)
