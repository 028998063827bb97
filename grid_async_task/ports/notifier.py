from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Notice:
    """Something a person on call should know."""

    #: one line: what happened
    title: str
    #: name and value, in the order in which they are shown
    facts: dict[str, str] = field(default_factory=dict)
    traceback: str = ""


class Notifier(ABC):
    """Tells people. Called in the background: it may take its time, and its failure is logged only."""

    @abstractmethod
    def notify(self, notice: Notice) -> None:
        """Tell it, or raise."""

    def close(self) -> None:
        """Send what is still held back, within a few seconds."""
        return


class NoNotifier(Notifier):
    """Nobody is to be told."""

    def notify(self, notice: Notice) -> None:
        return None
