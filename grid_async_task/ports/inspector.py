from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum


class Level(str, Enum):
    """How bad a finding is."""

    OK = "ok"
    #: it works, and something may go wrong
    WARNING = "warning"
    #: tasks can't be sent or run, or can be lost
    ERROR = "error"


@dataclass(frozen=True)
class Finding:
    """One thing that somebody looked at before an installation goes to work."""

    level: Level
    #: what was looked at, in a word or two
    subject: str
    #: what is the case
    text: str
    #: what a person can do about it; empty where nothing needs doing
    advice: str = ""


@dataclass(frozen=True)
class Missing:
    """One thing that migrating would make."""

    #: what it is, in a word or two: `queue`, `migration` ...
    kind: str
    name: str


class Inspector(ABC):
    """Looks at a server or a file that a worker needs, and changes nothing there."""

    @abstractmethod
    def inspect(self) -> list[Finding]:
        """What there is to say. Takes seconds, not minutes, and raises nothing: trouble is a finding. No secrets."""

    @abstractmethod
    def missing(self) -> list[Missing]:
        """What migrating would make, in that order. Raises `ConnectionError` and `ConfigurationError`."""
