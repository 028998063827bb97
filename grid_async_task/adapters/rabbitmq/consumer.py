"""One channel of the source: what it has delivered, and what of that is still in hand."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from queue import Empty, SimpleQueue
from typing import cast

import structlog
from pika import BasicProperties
from pika.channel import Channel
from pika.exceptions import ChannelClosedByBroker
from pika.spec import Basic

from grid_async_task.adapters.rabbitmq.connection import Answer, Connection, Done, fail, succeed
from grid_async_task.adapters.rabbitmq.error_text import text_of
from grid_async_task.adapters.rabbitmq.properties import incoming, incoming_headers
from grid_async_task.ports import Delivery

log = structlog.get_logger(__name__)

#: how long a delivery may stay unacknowledged, in ms (24 days); brokers that do not know the argument ignore it
CONSUMER_TIMEOUT_MS = 24 * 24 * 3600 * 1000


class Consumer:
    """Delivery tags mean something on their own channel only: this object is a delivery's receipt, with its tag.

    `inbox` holds deliveries, and None to wake its reader up when something has changed. All
    other methods run on the I/O thread, but `open`, `subscribe`, `holds`, `acknowledge` and `acknowledge_all`.
    """

    def __init__(self, connection: Connection, channel: Channel, prefetch: int) -> None:
        self._connection = connection
        self._channel = channel
        self._prefetch = prefetch
        self._consumer_tag: str | None = None
        #: tags which the broker believes to be in our hands
        self._held: set[int] = set()
        #: held from letting a tag go to having that said: a multiple one said in between would say it twice
        self._acknowledging = threading.Lock()
        self.inbox: SimpleQueue[Delivery | None] = SimpleQueue()
        #: deliveries that were taken out of it, to be handled one by one
        self.aside: SimpleQueue[Delivery | None] = SimpleQueue()
        self._unanswered: list[Answer[None]] = []
        self.is_alive = True
        #: the broker has ended the subscription: most likely the queue was deleted
        self.was_cancelled = False

    @classmethod
    def open(cls, connection: Connection, prefetch: int) -> Consumer:
        def say(channel: Channel, done: Done[Consumer]) -> None:
            consumer = cls(connection, channel, prefetch)
            channel.add_on_close_callback(lambda _channel, reason: consumer.end(reason))
            channel.add_on_cancel_callback(lambda _frame: consumer._on_cancelled_by_broker())
            channel.basic_qos(prefetch_count=prefetch, callback=lambda _frame: done(consumer))

        return connection.converse(say, keep=True)

    @property
    def is_subscribed(self) -> bool:
        return self.is_alive and self._consumer_tag is not None

    def subscribe(self, queue: str, answer: Answer[None]) -> None:
        """Ask the broker for messages; the answer is there once it has agreed."""
        self._unanswered.append(answer)
        self.was_cancelled = False
        self._consumer_tag = self._channel.basic_consume(
            queue,
            self._on_message,
            arguments={"x-consumer-timeout": CONSUMER_TIMEOUT_MS},
            callback=lambda _frame: self._answered(answer),
        )

    def unsubscribe(self, answer: Answer[None]) -> None:
        """Ask for no more, and give back what lies in the inbox; the answer is there once the broker has it."""
        self._unanswered.append(answer)

        def give_back(_frame: object) -> None:
            self._give_back_inbox()
            # a question behind them: its answer says that the broker has got this far
            self._channel.basic_qos(prefetch_count=self._prefetch, callback=lambda _frame: self._answered(answer))

        tag, self._consumer_tag = self._consumer_tag, None
        if not self._channel.is_open:
            self._answered(answer)
        elif tag is None:
            give_back(None)
        else:
            # what comes before the broker agrees pika itself gives back
            self._channel.basic_cancel(tag, callback=give_back)

    def holds(self, tag: int) -> bool:
        return self.is_alive and tag in self._held

    def acknowledge(self, tag: int) -> None:
        """Send it, soon. A tag that is not held, or no longer, would close the channel: it is dropped."""
        with self._acknowledging:
            if self.is_alive and tag in self._held:
                self._held.discard(tag)
                self._connection.post(lambda: self._ack(tag))

    def acknowledge_all(self, tags: Iterable[int]) -> None:
        """The same for several: by one frame, if the frame means no other message that is in our hands."""
        with self._acknowledging:
            if not self.is_alive:
                return
            done = self._held.intersection(tags)
            self._held -= done
            if not done:
                return
            highest = max(done)
            if min(self._held.copy(), default=highest + 1) > highest:
                self._connection.post(lambda: self._ack(highest, multiple=True))
            else:
                self._connection.post(lambda: self._ack_each(sorted(done)))

    def end(self, reason: Exception) -> None:
        """The channel is gone, and what was in hand belongs to others."""
        if isinstance(reason, ChannelClosedByBroker) and self.is_alive:
            log.warning("the broker closed the channel; what it had delivered comes again", error=text_of(reason))
        self.is_alive = False
        self._consumer_tag = None
        self._held.clear()
        unanswered, self._unanswered = self._unanswered, []
        for answer in unanswered:
            fail(answer, reason)
        self.inbox.put(None)

    def _answered(self, answer: Answer[None]) -> None:
        if answer in self._unanswered:
            self._unanswered.remove(answer)
            succeed(answer, None)

    def _ack_each(self, tags: Iterable[int]) -> None:
        for tag in tags:
            self._ack(tag)

    def _ack(self, tag: int, *, multiple: bool = False) -> None:
        if self._channel.is_open:
            self._channel.basic_ack(tag, multiple=multiple)

    def _on_message(self, _channel: Channel, deliver: Basic.Deliver, properties: BasicProperties, body: bytes) -> None:
        tag = cast(int, deliver.delivery_tag)  # None only before it was read
        headers = incoming_headers(properties)
        count = headers.pop("x-delivery-count", 0)
        self._held.add(tag)
        # on a classic queue this header is whatever the publisher has set
        before = count if isinstance(count, int) else 0
        self.inbox.put(Delivery(body, headers, incoming(properties), before, (self, tag)))

    def _on_cancelled_by_broker(self) -> None:
        log.warning("the broker ended the subscription, most likely the queue was deleted; it is made again")
        self._consumer_tag = None
        self.was_cancelled = True
        self.inbox.put(None)

    def _give_back_inbox(self) -> None:
        self._give_back(self.inbox)
        self._give_back(self.aside)

    def _give_back(self, fetched: SimpleQueue[Delivery | None]) -> None:
        while True:
            try:
                delivery = fetched.get_nowait()
            except Empty:
                return
            if delivery is not None:
                _consumer, tag = delivery.receipt
                self._held.discard(tag)
                self._channel.basic_nack(tag, requeue=True)
