from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


class Background(ABC):
    """What goes on beside the handler."""

    @abstractmethod
    def loop(self, name: str, run: Callable[[], None]) -> None:
        """Run something that goes on until the worker leaves and ends by itself then."""

    @abstractmethod
    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Run one call soon, beside others. `Future.result(timeout)` waits for it."""

    @property
    @abstractmethod
    def busy(self) -> bool:
        """Whether a submitted call is still under way that may be hoped to end."""

    @abstractmethod
    def close(self, timeout_s: float) -> None:
        """Wait so long at most for the submitted calls, and for none that hangs."""
