"""Looking through the dead letters of a queue, and sending them on their way again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from grid_async_task.application.dead_letters import SUFFIX
from grid_async_task.application.envelope import MANY_DELIVERIES
from grid_async_task.application.refusal import Refused
from grid_async_task.domain.message import InvalidMessage, MessageLimits
from grid_async_task.domain.message_parsing import parse_message
from grid_async_task.domain.task import Task, TaskStatus
from grid_async_task.ports import Delivery, MessagePublisher, MessageSource, OutgoingMessage, TaskRepository

#: seconds to wait for a message that the broker says is there; another reader may hold it
WAIT_S = 5.0
#: what the worker added when it buried the message
_ADDED = "x-grid-"


@dataclass(frozen=True)
class DeadLetter:
    """A message that could not be a task, in this reader's hands until the desk is left."""

    delivery: Delivery
    #: names it from one look to the next: a digest of its body and of when it died
    key: str
    #: the task that it names, as far as it does
    task_id: str | None

    def header(self, name: str) -> str:
        """What the worker noted on it: `reason`, `error`, `queue`, `worker` or `dead-at`."""
        return str(self.delivery.headers.get(_ADDED + name, ""))


class DeadLetterDesk:
    """Takes dead letters in hand, and returns on leaving what was not replayed. Used as a context manager.

    A reader that dies loses nothing: what it held is given back by the broker.
    """

    def __init__(
        self,
        source: MessageSource,
        publisher: MessagePublisher,
        repository: Callable[[], TaskRepository],
        *,
        queue: str,
        limits: MessageLimits,
    ) -> None:
        """`source` reads the dead letter queue of `queue`, with as many messages in hand as are to be seen."""
        self._source = source
        self._publisher = publisher
        self._repository = repository
        self._queue = queue
        self._limits = limits
        self._in_hand: list[DeadLetter] = []

    def __enter__(self) -> DeadLetterDesk:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            for letter in self._in_hand:
                often = letter.delivery.delivery_count >= MANY_DELIVERIES
                # one whose connection was lost is back on its queue: a copy would be a second one
                if often and self._source.holds(letter.delivery):
                    self._publisher.publish(_copy(letter.delivery, self._queue + SUFFIX, letter.delivery.headers))
                    self._source.ack(letter.delivery)
        finally:
            self._source.close()

    def look(self, limit: int) -> list[DeadLetter]:
        """The oldest ones, at most so many."""
        there = self._publisher.declare(self._queue + SUFFIX).ready
        while len(self._in_hand) < min(limit, there) and (delivery := self._source.next(WAIT_S)) is not None:
            self._in_hand.append(DeadLetter(delivery, _key_of(delivery), self._task_id_of(delivery.body)))
        return list(self._in_hand)

    def replay(self, letter: DeadLetter) -> str | None:
        """Send the message to the work queue as it came; why it will die again, if by our settings it will.

        The row that it made when it died is deleted first, since a worker drops the message of a
        finished task. Raises `Refused` where the row stands for more than that, or the letter is no longer in
        hand. Until the publish is confirmed the letter stays where it is: a crash in between leaves it to be
        replayed again.
        """
        self._require_in_hand(letter)
        if letter.task_id is not None:
            self._make_way(letter.task_id)
        original = {name: value for name, value in letter.delivery.headers.items() if not name.startswith(_ADDED)}
        self._publisher.publish(_copy(letter.delivery, self._queue, original))
        self._source.ack(letter.delivery)
        self._in_hand.remove(letter)
        return self._complaint_about(letter.delivery.body)

    def drop(self, letter: DeadLetter) -> None:
        """Delete the message for good. Raises `Refused` where it is no longer in hand."""
        self._require_in_hand(letter)
        self._source.ack(letter.delivery)
        self._in_hand.remove(letter)

    def _require_in_hand(self, letter: DeadLetter) -> None:
        if not self._source.holds(letter.delivery):
            raise Refused(
                "the connection to the broker was lost, so it is among the dead letters again; look once more"
            )

    def _make_way(self, task_id: str) -> None:
        reading = self._repository().read(task_id)
        if reading is None or not reading.task.status.is_final:
            return
        task = reading.task
        if not self._was_made_by_a_dead_message(task):
            raise Refused(
                f"task {task_id!r} is {task.status.value} (attempt {task.attempt}), so its message would be dropped;"
                " send it under another id, or see `retry` for a task that failed"
            )
        if task.wake_at is not None:
            raise Refused(f"the failure callback of task {task_id!r} is still due; try again once it is sent")
        if not self._repository().forget_invalid(task):
            raise Refused(f"task {task_id!r} was changed by somebody else this very moment; look at it again")

    def _was_made_by_a_dead_message(self, task: Task) -> bool:
        return task.status is TaskStatus.FAILED and task.attempt == 0 and task.queue == self._queue

    def _task_id_of(self, body: bytes) -> str | None:
        try:
            return parse_message(body, self._limits).task_id
        except InvalidMessage as error:
            return error.salvaged.task_id if error.salvaged else None

    def _complaint_about(self, body: bytes) -> str | None:
        try:
            parse_message(body, self._limits)
        except InvalidMessage as error:
            return str(error)
        return None


def _key_of(delivery: Delivery) -> str:
    died = str(delivery.headers.get(f"{_ADDED}dead-at", ""))
    return hashlib.sha256(died.encode("utf-8", "replace") + b"\n" + delivery.body).hexdigest()[:10]


def _copy(delivery: Delivery, queue: str, headers: Any) -> OutgoingMessage:
    return OutgoingMessage(queue, delivery.body, headers=dict(headers), properties=dict(delivery.properties))
