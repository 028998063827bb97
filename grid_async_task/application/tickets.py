"""Seeing that whoever still needs something has a message (SPEC 4.5), and only then acknowledging."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from grid_async_task.application.due_time import DUE_HEADER
from grid_async_task.application.lifecycle import Lifecycle
from grid_async_task.application.patience import Patience
from grid_async_task.ports import Delivery, MessagePublisher, MessageSource, OutgoingMessage

#: properties that say something about the task, and not about the way its message has come
KEPT_PROPERTIES = frozenset(
    {"content_type", "content_encoding", "message_id", "correlation_id", "type", "app_id", "priority"}
)
#: the same for headers; all others stay behind: an old `x-death` loses a parked message for good
KEPT_HEADERS = frozenset({"traceparent", "tracestate", "baggage", DUE_HEADER})


class Tickets:
    """Parks, gives back and sends on the messages of one worker."""

    def __init__(
        self,
        source: MessageSource,
        publisher: MessagePublisher,
        broker: Patience,
        lifecycle: Lifecycle,
        *,
        queue: str,
    ) -> None:
        self._source = source
        self._publisher = publisher
        self._broker = broker
        self._lifecycle = lifecycle
        self._queue = queue

    def park(self, delivery: Delivery, wait_s: float) -> None:
        """The message comes back in `wait_s` seconds and costs no worker until then."""
        self._replace(delivery, self.copy(delivery, delay_s=wait_s))

    def give_back(self, delivery: Delivery) -> None:
        """Another worker may have it at once. A copy, since brokers count what is merely returned."""
        self._replace(delivery, self.copy(delivery))

    def send_to(self, delivery: Delivery, queue: str) -> None:
        """The message belongs on another queue."""
        self._replace(delivery, self.copy(delivery, queue=queue))

    def ack(self, delivery: Delivery) -> None:
        """Nothing is owed any more."""
        self._source.ack(delivery)

    def ack_all(self, deliveries: Sequence[Delivery]) -> None:
        """The same for several at once."""
        self._source.ack_all(deliveries)

    def copy(self, delivery: Delivery, *, delay_s: float = 0.0, queue: str | None = None) -> OutgoingMessage:
        return OutgoingMessage(
            self._queue if queue is None else queue,
            delivery.body,
            delay_s=delay_s,
            headers=_kept(delivery.headers, KEPT_HEADERS),
            properties=_kept(delivery.properties, KEPT_PROPERTIES),
        )

    def publish(self, message: OutgoingMessage) -> None:
        """Confirmed, however long it takes. While it does, no message is taken that could not be served.

        Raises `Leaving` at a stop: the delivery in hand stays unacknowledged and so remains the ticket.
        """
        self._broker.until_answered(
            lambda: self._publisher.publish(message), until=self._lifecycle.stopping, meanwhile=self._source.pause
        )

    def publish_once(self, message: OutgoingMessage) -> None:
        """One try; raises what the publisher raises."""
        self._publisher.publish(message)

    def _replace(self, delivery: Delivery, message: OutgoingMessage) -> None:
        self.publish(message)
        self._source.ack(delivery)


def _kept(values: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in names}
