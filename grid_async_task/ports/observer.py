from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from enum import Enum
from typing import Any, TypeAlias

from grid_async_task.domain.callback import Callback
from grid_async_task.domain.failure import CANCELLED
from grid_async_task.domain.outcome import Crashed, Failed, HandedBack, Outcome, RetryLater, Snoozed, Succeeded
from grid_async_task.domain.task import Task
from grid_async_task.ports.message_publisher import OutgoingMessage

#: publishes messages: per message None, or why it was not sent
Publish: TypeAlias = Callable[[Sequence[OutgoingMessage]], list[Exception | None]]

#: entered and left any number of times, by any thread
_NOTHING_TO_ADD: AbstractContextManager[dict[str, str]] = nullcontext({})


class CallbackTry(str, Enum):
    """How one try to deliver a callback ended."""

    SENT = "sent"
    #: it is tried again
    FAILED = "failed"
    #: it is not tried again: the tries are used up, or the receiver can't be had
    GIVEN_UP = "given_up"
    #: it was no try: the receiver has enough to do, or the way to it is down
    PUT_OFF = "put_off"


class Observer:
    """Is told what happens, for metrics and traces. This one does nothing with it: override what is of interest.

    Everything is told once, where the log tells it. The methods are called on the way of every
    task, from several threads: they return at once and raise nothing. What a context manager
    surrounds may raise; that goes through.
    """

    def while_working(self) -> AbstractContextManager[object]:
        """Around the whole run of a worker. Entering may raise `ConfigurationError`."""
        return _NOTHING_TO_ADD

    # -- around the ways of a task ------------------------------------------------------------------

    def sending(self, messages: Sequence[OutgoingMessage], publish: Publish) -> list[Exception | None]:
        """Around a producer's publish: calls `publish`, with headers added or not, and returns its answer.

        Of a task that is enqueued in a transaction, `publish` writes the row; what it raises goes through.
        """
        return publish(messages)

    def attempt(self, task: Task, headers: Mapping[str, Any]) -> AbstractContextManager[Mapping[str, str]]:
        """Around one attempt, in its thread, until it is settled or waits for the commit of its group.

        `headers` came with its message. What is yielded stands in each log line meanwhile.
        """
        return _NOTHING_TO_ADD

    def calling_back(
        self, task: Task, callback: Callback, headers: Mapping[str, Any]
    ) -> AbstractContextManager[Mapping[str, str]]:
        """Around one try to deliver a callback; `headers` as above. What is yielded becomes `Callback.trace`."""
        return _NOTHING_TO_ADD

    # -- what has happened --------------------------------------------------------------------------

    def claimed_together(self, tasks: int) -> None:
        """So many tasks were claimed by one commit."""

    def handler_ran(self, task: Task, seconds: float) -> None:
        """The handler has been left, whatever came of it."""

    def settled(self, task: Task, outcome: Outcome) -> None:
        """The outcome of an attempt is committed; also of a task that failed without being run (again)."""

    def claim_lost(self, task: Task) -> None:
        """The attempt's result is not kept: its lease had run out, and somebody else has the task."""

    def taken_over(self, task: Task) -> None:
        """Its worker is taken for dead; the task is ours now."""

    def callback_tried(self, task: Task, result: CallbackTry) -> None:
        """A callback was sent or not. `task` is as it was taken."""

    def dead_letter(self, reason: str) -> None:
        """A message that can't be a task lies on the dead letter queue; `reason` is one of few."""

    def connection_lost(self, to: str) -> None:
        """What was there is gone: `source` or `publisher` (the two connections to the broker), `database`, `broker`.

        The last two do not answer, or refuse to do, what is needed; it is tried again until they do.
        """


#: tells nobody
NO_OBSERVER = Observer()


#: what `outcome_word` says
OUTCOME_WORDS = ("success", "failed", "cancelled", "retry", "snoozed", "handed_back", "crashed")


def outcome_word(outcome: Outcome) -> str:
    """An outcome in one word, for metrics and traces; one of few."""
    match outcome:
        case Succeeded():
            return "success"
        case Failed(failure):
            return "cancelled" if failure.error_type == CANCELLED.error_type else "failed"
        case RetryLater():
            return "retry"
        case Snoozed():
            return "snoozed"
        case HandedBack():
            return "handed_back"
        case Crashed():
            return "crashed"
