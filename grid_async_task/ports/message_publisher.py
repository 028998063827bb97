from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """A message for one queue. It is persistent, whatever its properties say."""

    queue: str
    body: bytes
    #: seconds until it becomes ready; a broker may round up to whole ones
    delay_s: float = 0.0
    headers: Mapping[str, Any] = field(default_factory=dict)
    #: other AMQP properties (`content_type`, `message_id`, ...)
    properties: Mapping[str, Any] = field(default_factory=dict)
    #: the name of an exchange to send it through instead of straight to the queue; the routing key is the queue's name
    exchange: str = ""


@dataclass(frozen=True)
class QueueState:
    """What the broker says of a queue."""

    #: messages that wait for a consumer now
    ready: int
    #: how many consumers it has; None where a broker can't tell
    consumers: int | None = None


class MessagePublisher(ABC):
    """Puts messages on queues. May be shared by threads; connects on first use, and anew after a loss."""

    @abstractmethod
    def publish(self, message: OutgoingMessage) -> None:
        """Put one message on its queue; returning means that the broker has it safe.

        A missing queue is declared. Raises `BrokerUnavailable` (connection lost, no confirm in
        time), `PublishRefused`, or `ConfigurationError` (refused login).
        """

    @abstractmethod
    def publish_many(self, messages: Sequence[OutgoingMessage]) -> list[Exception | None]:
        """The same for many, with one wait for all: per message None, or what `publish` would have raised."""

    @abstractmethod
    def declare(self, queue: str) -> QueueState:
        """See that the queue exists and that delayed messages find it; an existing one is taken as it is."""

    def look_at(self, queue: str) -> QueueState | None:
        """The queue as it is, untouched; None where there is no such queue. Raises what `publish` raises."""
        return None

    def rescue_stranded(self) -> int:
        """Put delayed messages that came due without finding their queue on it now. How many there were."""
        return 0

    @property
    def silent_s(self) -> float:
        """Seconds for which the thread behind it has shown no life; 0 where it has, or need not have, one."""
        return 0.0

    @abstractmethod
    def close(self) -> None:
        """Leave, within a few seconds. Messages whose `publish` has returned are safe.

        May be called from any thread, and again; a `publish` that still waits raises `BrokerUnavailable` then.
        """
