from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from types import TracebackType


class Guard(ABC):
    """A context around the handler's code of one attempt. Nothing is raised in it once it has been left."""

    @abstractmethod
    def __enter__(self) -> None: ...

    @abstractmethod
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @abstractmethod
    def disarm(self) -> None:
        """Nothing is raised any more. What leaving the context does too; harmless when repeated."""

    @abstractmethod
    def interrupt(self) -> None:
        """Raise `TaskInterrupted` in the guarded code, also where it blocks. From any thread.

        Does nothing where this environment can't interrupt.
        """

    @abstractmethod
    def shield(self) -> AbstractContextManager[None]:
        """A part of the guarded code, ours, that must not be torn apart: what comes meanwhile is raised after it."""


class Interrupts(ABC):
    """Raising an exception in the handler's code from outside of it."""

    @abstractmethod
    def in_this_thread(self, limit_s: float) -> AbstractContextManager[None]:
        """Around all of a worker's attempts, in the thread that runs the handler.

        Raises `ConfigurationError` where attempts have a time limit and it can't be kept here.
        """

    @abstractmethod
    def guard(self, limit_s: float) -> Guard:
        """For one attempt. After `limit_s` seconds (0: no limit) a `TimeoutError` is raised in the guarded code."""
