"""What can't be a task is kept where a person finds it, with all it came with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import structlog

from grid_async_task.application.alerts import Alerts
from grid_async_task.application.lifecycle import Lifecycle
from grid_async_task.application.patience import Patience
from grid_async_task.application.tickets import Tickets
from grid_async_task.domain.failure import Failure
from grid_async_task.domain.message import InvalidMessage, Ticket
from grid_async_task.domain.wire_time import to_wire
from grid_async_task.ports import (
    NO_OBSERVER,
    Clock,
    DataRefused,
    Delivery,
    Observer,
    OutgoingMessage,
    TaskRepository,
)

T = TypeVar("T")

#: added to a queue's name; fixed by SPEC section 2
SUFFIX = ".dead"
#: headers of the broker's own bookkeeping; with an old `x-death` the broker may drop what is sent anew
_BROKERS_OWN = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-count")

#: a frame holds 128 KiB of headers and properties; what a message came with has to leave room for ours
MAX_HEADERS_SIZE = 100_000

log = structlog.get_logger(__name__)


class DeadLetters:
    """Buries messages of one queue."""

    def __init__(
        self,
        tickets: Tickets,
        repository: TaskRepository,
        database: Patience,
        lifecycle: Lifecycle,
        clock: Clock,
        alerts: Alerts,
        *,
        queue: str,
        worker: str,
        observer: Observer = NO_OBSERVER,
    ) -> None:
        self._tickets = tickets
        self._repository = repository
        self._database = database
        self._lifecycle = lifecycle
        self._clock = clock
        self._alerts = alerts
        self._queue = queue
        self._worker = worker
        self._observer = observer

    def bury(self, delivery: Delivery, reason: InvalidMessage) -> Delivery | None:
        """Put the message on the dead letter queue and record its task as failed, where no row of that id exists.

        If it names a task, the answer is the same delivery with a clean body, which says only which
        row to look at: a callback may be owed. The bad body must not come back.
        """
        self._tickets.publish(self._dead(delivery, reason))
        log.warning(
            "message is dead",
            task_id=reason.salvaged.task_id if reason.salvaged else None,
            reason=reason.reason,
            error=str(reason),
            dead_letter_queue=self._queue + SUFFIX,
        )
        self._observer.dead_letter(reason.reason)
        self._alerts.dead_message(self._queue, reason)
        if reason.salvaged is None:
            return None
        task_id = reason.salvaged.task_id
        self._record(reason)
        return replace(delivery, body=Ticket(task_id).to_body(), headers={}, properties={})

    def _record(self, reason: InvalidMessage) -> None:
        salvaged = reason.salvaged
        assert salvaged is not None
        failure = Failure.of(reason)
        failure = replace(failure, error_type="ValidationError", traceback="")
        try:
            self._ask(lambda: self._repository.record_invalid(salvaged, queue=self._queue, failure=failure))
        except DataRefused:
            without_data = replace(salvaged, data={}, extra={})
            try:
                self._ask(lambda: self._repository.record_invalid(without_data, queue=self._queue, failure=failure))
            except DataRefused as refusal:
                log.warning("a dead message's task can't be recorded", task_id=salvaged.task_id, error=str(refusal))

    def _dead(self, delivery: Delivery, reason: InvalidMessage) -> OutgoingMessage:
        headers = {name: value for name, value in delivery.headers.items() if not name.startswith(_BROKERS_OWN)}
        kept = _within(MAX_HEADERS_SIZE, headers)
        added: dict[str, Any] = {
            "x-grid-reason": reason.reason,
            "x-grid-error": str(reason)[:1000].encode("utf-8", "replace").decode(),
            "x-grid-queue": self._queue,
            "x-grid-worker": self._worker,
            "x-grid-dead-at": to_wire(self._clock.now()),
        }
        return OutgoingMessage(
            self._queue + SUFFIX, delivery.body, headers=kept | added, properties=dict(delivery.properties)
        )

    def _ask(self, ask: Callable[[], T]) -> T:
        return self._database.until_answered(ask, until=self._lifecycle.leaving)


def _within(limit: int, headers: dict[str, Any]) -> dict[str, Any]:
    """Without the largest ones, where all of them would be too large to be sent again."""
    sizes = {name: len(repr(name)) + len(repr(value)) for name, value in headers.items()}
    while sum(sizes.values()) > limit:
        del sizes[max(sizes, key=lambda name: sizes[name])]
    return {name: value for name, value in headers.items() if name in sizes}
