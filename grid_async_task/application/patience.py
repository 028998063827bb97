"""Asking a server again until it answers, without limit of tries."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import structlog

from grid_async_task.application.lifecycle import Leaving
from grid_async_task.domain.errors import GridAsyncTaskError
from grid_async_task.domain.retry import Randomness
from grid_async_task.ports import NO_OBSERVER, Clock, Observer

T = TypeVar("T")

#: seconds before the second try; doubles up to the last number, which the lease of a living task depends on
FIRST_PAUSE_S, MAX_PAUSE_S = 0.1, 3.0

log = structlog.get_logger(__name__)


class Patience:
    """Tries again while a server is away. Says so once when it goes, and once when it is back."""

    def __init__(
        self,
        server: str,
        errors: tuple[type[GridAsyncTaskError], ...],
        clock: Clock,
        rng: Randomness,
        observer: Observer = NO_OBSERVER,
    ) -> None:
        self._server = server
        self._errors = errors
        self._clock = clock
        self._rng = rng
        self._observer = observer
        self._away = threading.Event()

    def until_answered(
        self, ask: Callable[[], T], *, until: threading.Event, meanwhile: Callable[[], None] | None = None
    ) -> T:
        """The answer; raises `Leaving` once the event `until` is set and there was none.

        `meanwhile` is called once, when the first try has failed.
        """
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                answer = ask()
            except self._errors as error:
                self._failed(error)
                if meanwhile is not None:
                    meanwhile()
                    meanwhile = None
                if self._clock.wait(until, pause_s * self._rng.uniform(0.5, 1.0)):
                    raise Leaving(f"the {self._server} did not answer: {error}") from error
                pause_s = min(2 * pause_s, MAX_PAUSE_S)
            else:
                self._answered()
                return answer

    @property
    def is_away(self) -> bool:
        """Whether the last answer was none."""
        return self._away.is_set()

    def _failed(self, error: Exception) -> None:
        if not self._away.is_set():
            self._away.set()
            log.warning(f"{self._server} unavailable, trying again until it answers", error=str(error))
            self._observer.connection_lost(self._server)

    def _answered(self) -> None:
        if self._away.is_set():
            self._away.clear()
            log.info(f"{self._server} available again")
