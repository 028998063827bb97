from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from datetime import datetime


class Clock(ABC):
    """Where time comes from, so that tests have one of their own.

    Leases are never judged by it: for those the database's clock counts.
    """

    @abstractmethod
    def now(self) -> datetime:
        """The time of day, UTC, with its zone."""

    @abstractmethod
    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""

    @abstractmethod
    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Sleep for so many seconds, or until the event is set. True if it is set."""
