from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Delivery:
    """One message in this worker's hands, until it is acknowledged or its source is closed."""

    body: bytes
    #: as the publisher set them
    headers: Mapping[str, Any] = field(default_factory=dict)
    #: the other AMQP properties that were set (`content_type`, `message_id`, ...)
    properties: Mapping[str, Any] = field(default_factory=dict)
    #: how often the broker delivered it before, where the broker counts
    delivery_count: int = 0
    #: the source's own mark, with which it finds the message again
    receipt: Any = None


class MessageSource(ABC):
    """The work queue, as its consumer sees it. Its methods are called by one thread.

    A source reconnects by itself, without limit of tries and with growing pauses. What a
    lost connection had delivered is delivered again, by whichever source is next.
    """

    @abstractmethod
    def next(self, timeout_s: float) -> Delivery | None:
        """The next message; None when none came within so many seconds.

        Subscribes if it is not subscribed. Raises `ConfigurationError` where the broker
        refuses the login or the queue and only a person can help.
        """

    def take(self, limit: int) -> list[Delivery]:
        """Of what has already arrived, the next messages, at most so many. Does not wait."""
        return []

    def put_aside(self, deliveries: Sequence[Delivery]) -> None:
        """Taken, and not begun after all: `next_aside` hands them out again, `pause` and `close` give them back."""
        raise NotImplementedError  # whoever has `take` needs it

    def next_aside(self) -> Delivery | None:
        """The first of what was put aside and is still there. Does not wait."""
        return None

    @abstractmethod
    def ack(self, delivery: Delivery) -> None:
        """The message is done with. Does nothing where the delivery is stale (its connection is gone).

        May return before the broker knows; `close` waits for it. May be called from any thread.
        """

    def ack_all(self, deliveries: Sequence[Delivery]) -> None:
        """These messages are done with, and no others."""
        for delivery in deliveries:
            self.ack(delivery)

    @abstractmethod
    def holds(self, delivery: Delivery) -> bool:
        """Whether the message is still in hand: it is not acknowledged, and its connection has not been lost since.

        By what this side knows; may be called from any thread.
        """

    @abstractmethod
    def pause(self) -> None:
        """Take no more messages until the next call of `next`, and give back at once what `next` has not handed out.

        May be called from any thread. Deliveries in hand stay in hand.
        """

    @property
    @abstractmethod
    def connected(self) -> bool:
        """Whether messages could arrive at this moment."""

    @property
    def subscribed(self) -> bool:
        """Whether the broker is being asked for messages."""
        return self.connected

    @property
    def silent_s(self) -> float:
        """Seconds for which the thread behind this source has shown no life; 0 where it has, or need not have, one."""
        return 0.0

    def is_deaf(self) -> bool:
        """Whether messages wait, this source believes to be subscribed, and the broker knows of no consumer.

        Asks the broker; may be called from any thread. False where a broker can't tell. Raises `BrokerUnavailable`.
        """
        return False

    @abstractmethod
    def close(self) -> None:
        """Leave: send the acknowledgements under way, give back every other message."""
