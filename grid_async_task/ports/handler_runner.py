from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeAlias

from grid_async_task.domain.failure import Failure
from grid_async_task.ports.attempt_view import AttemptView


@dataclass(frozen=True)
class Returned:
    """The handler returned; its value as the table and the callback carry it."""

    result: dict[str, Any]


@dataclass(frozen=True)
class Raised:
    """The handler raised something, or returned what can't be stored. `should_retry` and `on_task_error` are done."""

    failure: Failure
    #: seconds until the next attempt, where the handler itself asked for one
    own_delay_s: float | None = None


@dataclass(frozen=True)
class AskedToSnooze:
    """The handler wants to be run again in so many seconds."""

    delay_s: float


@dataclass(frozen=True)
class Interrupted:
    """The handler was stopped by `HandlerRun.interrupt`, or never began."""


@dataclass(frozen=True)
class Died:
    """The handler took down the process that it had to itself; no hook was called."""

    failure: Failure


Ending: TypeAlias = Returned | Raised | AskedToSnooze | Interrupted | Died


class HandlerRun(ABC):
    """The handler's code, at work on one attempt."""

    @abstractmethod
    def run(self, attempt: AttemptView) -> Ending:
        """All hooks up to `on_task_error`. Whatever the handler raises is an ending, not an exception. Called once."""

    @abstractmethod
    def interrupt(self) -> None:
        """Raise `TaskInterrupted` in the handler's code, also where it blocks, also before `run`. From any thread.

        Does nothing once the handler's code has been left, or where it can't be interrupted.
        """

    @abstractmethod
    def shield(self) -> AbstractContextManager[None]:
        """A part of the run, ours, that must not be torn apart: what comes meanwhile is raised after it."""


class HandlerRunner(ABC):
    """Has the handler: in this process, or in one of its own. Runs one attempt at a time.

    An attempt that takes longer than the time limit gets a `TimeoutError` raised in its code.
    """

    @abstractmethod
    def in_this_thread(self) -> AbstractContextManager[None]:
        """Around all attempts, in the thread that runs them.

        Raises `ConfigurationError` where the time limit can't be kept here, or the handler can't be had.
        """

    @abstractmethod
    def start(self) -> HandlerRun:
        """For the next attempt."""

    @abstractmethod
    def complete(self) -> None:
        """The success of the last run is committed: `on_task_complete`. Raises nothing."""

    @abstractmethod
    def forget(self) -> None:
        """No task is running any more."""
