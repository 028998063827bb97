"""A broker within one process: durable for as long as the object lives."""

from __future__ import annotations

import itertools
import threading
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from grid_async_task.ports import Clock, Delivery, MessagePublisher, MessageSource, OutgoingMessage, QueueState


@dataclass
class _Delayed:
    due: float
    message: OutgoingMessage


@dataclass
class _InHand:
    source: MemoryMessageSource
    message: OutgoingMessage


@dataclass
class MemoryBroker:
    """The queues that sources and publishers share. Their state is open, for tests to look at."""

    clock: Clock
    queues: dict[str, deque[OutgoingMessage]] = field(default_factory=lambda: defaultdict(deque))
    delayed: list[_Delayed] = field(default_factory=list)
    #: delivered and not acknowledged, by receipt
    in_hand: dict[int, _InHand] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self._receipts = itertools.count(1)
        self._arrivals: list[threading.Event] = []

    def source(self, queue: str, prefetch: int = 1) -> MemoryMessageSource:
        return MemoryMessageSource(self, queue, prefetch)

    def publisher(self) -> MemoryMessagePublisher:
        return MemoryMessagePublisher(self)

    def waiting_for(self, queue: str) -> list[OutgoingMessage]:
        """Every message that will reach this queue or is out for delivery from it."""
        with self.lock:
            return [
                *self.queues[queue],
                *(delayed.message for delayed in self.delayed if delayed.message.queue == queue),
                *(hand.message for hand in self.in_hand.values() if hand.message.queue == queue),
            ]

    def lose_connections(self) -> None:
        """As a restart of the broker: what was delivered and not acknowledged is ready again."""
        with self.lock:
            for source in dict.fromkeys(hand.source for hand in self.in_hand.values()):  # in the same order each time
                self.give_back(source)

    # -- for the sources and publishers -------------------------------------------------------

    def put(self, message: OutgoingMessage) -> None:
        with self.lock:
            if message.delay_s > 0:
                due = self.clock.monotonic() + message.delay_s
                self.delayed.append(_Delayed(due, replace(message, delay_s=0.0)))
            else:
                self.queues[message.queue].append(message)
            for arrived in self._arrivals:
                arrived.set()

    def take(self, queue: str, source: MemoryMessageSource) -> Delivery | None:
        with self.lock:
            self._release_due()
            if not self.queues[queue]:
                return None
            message = self.queues[queue].popleft()
            receipt = next(self._receipts)
            self.in_hand[receipt] = _InHand(source, message)
            return Delivery(message.body, message.headers, message.properties, receipt=receipt)

    def give_back(self, source: MemoryMessageSource) -> None:
        with self.lock:
            held = [receipt for receipt, hand in self.in_hand.items() if hand.source is source]
            for receipt in reversed(held):
                message = self.in_hand.pop(receipt).message
                self.queues[message.queue].appendleft(message)
            for arrived in self._arrivals:
                arrived.set()

    def ready(self, queue: str) -> int:
        with self.lock:
            self._release_due()
            return len(self.queues[queue])

    def seconds_to_next(self) -> float | None:
        """Until the next delayed message comes due; None where none is waiting."""
        with self.lock:
            if not self.delayed:
                return None
            return max(0.0, min(delayed.due for delayed in self.delayed) - self.clock.monotonic())

    def listen(self, arrived: threading.Event) -> None:
        self._arrivals.append(arrived)

    def _release_due(self) -> None:
        now = self.clock.monotonic()
        due = sorted((delayed for delayed in self.delayed if delayed.due <= now), key=lambda delayed: delayed.due)
        for delayed in due:
            self.delayed.remove(delayed)
            self.queues[delayed.message.queue].append(delayed.message)


class MemoryMessageSource(MessageSource):
    def __init__(self, broker: MemoryBroker, queue: str, prefetch: int) -> None:
        self._broker = broker
        self._queue = queue
        self._prefetch = prefetch
        self._arrived = threading.Event()
        self._closed = False
        self._aside: deque[Delivery] = deque()
        broker.listen(self._arrived)

    def next(self, timeout_s: float) -> Delivery | None:
        clock = self._broker.clock
        deadline = clock.monotonic() + timeout_s
        while not self._closed:
            self._arrived.clear()
            if self._in_hand() < self._prefetch:
                delivery = self._broker.take(self._queue, self)
                if delivery is not None:
                    return delivery
            left_s = deadline - clock.monotonic()
            if left_s <= 0:
                return None
            next_s = self._broker.seconds_to_next()
            clock.wait(self._arrived, left_s if next_s is None else min(left_s, next_s))
        return None

    def take(self, limit: int) -> list[Delivery]:
        taken: list[Delivery] = []
        while len(taken) < limit and self._in_hand() < self._prefetch:
            delivery = self._broker.take(self._queue, self)
            if delivery is None:
                break
            taken.append(delivery)
        return taken

    def put_aside(self, deliveries: Sequence[Delivery]) -> None:
        self._aside.extend(deliveries)

    def next_aside(self) -> Delivery | None:
        return self._aside.popleft() if self._aside else None

    def ack(self, delivery: Delivery) -> None:
        with self._broker.lock:
            if self.holds(delivery):
                del self._broker.in_hand[delivery.receipt]

    def holds(self, delivery: Delivery) -> bool:
        hand = self._broker.in_hand.get(delivery.receipt)
        return hand is not None and hand.source is self

    def pause(self) -> None:
        with self._broker.lock:
            while (delivery := self.next_aside()) is not None:
                hand = self._broker.in_hand.get(delivery.receipt)
                if hand is not None and hand.source is self:
                    del self._broker.in_hand[delivery.receipt]
                    self._broker.queues[self._queue].append(hand.message)

    @property
    def connected(self) -> bool:
        return not self._closed

    def close(self) -> None:
        self._closed = True
        self._broker.give_back(self)

    def _in_hand(self) -> int:
        with self._broker.lock:
            return sum(hand.source is self for hand in self._broker.in_hand.values())


class MemoryMessagePublisher(MessagePublisher):
    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    def publish(self, message: OutgoingMessage) -> None:
        self._broker.put(message)

    def publish_many(self, messages: Sequence[OutgoingMessage]) -> list[Exception | None]:
        for message in messages:
            self._broker.put(message)
        return [None] * len(messages)

    def declare(self, queue: str) -> QueueState:
        return QueueState(ready=self._broker.ready(queue))

    def look_at(self, queue: str) -> QueueState | None:
        return QueueState(ready=self._broker.ready(queue)) if queue in self._broker.queues else None

    def close(self) -> None:
        return None
