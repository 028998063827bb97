"""The port `MessageSource` for RabbitMQ."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from queue import Empty

import structlog
from pika.exceptions import ChannelClosedByBroker

from grid_async_task.adapters.rabbitmq.connection import ANSWER_TIMEOUT_S, Connection
from grid_async_task.adapters.rabbitmq.consumer import Consumer
from grid_async_task.adapters.rabbitmq.error_text import text_of
from grid_async_task.adapters.rabbitmq.topology import QueueType, Topology, explain
from grid_async_task.ports import NO_OBSERVER, BrokerUnavailable, Delivery, MessageSource, Observer

log = structlog.get_logger(__name__)

#: seconds between tries to subscribe over a connection that is there
PAUSE_S = 1.0
#: seconds for `pause` and `close` each, whatever the broker does
GOODBYE_S = 3.0


class RabbitMessageSource(MessageSource):
    """Consumes one queue. Its connection never publishes: a broker short of memory goes on taking its acks.

    It subscribes when `next` waits, and only then: after a reconnect in the middle of a task
    it holds no message that it could not run.
    """

    def __init__(
        self,
        url: str,
        queue: str,
        *,
        prefetch: int = 1,
        queue_type: QueueType | None = None,
        observer: Observer = NO_OBSERVER,
    ) -> None:
        """`prefetch`: messages in hand at once; `queue_type` is for a queue that has to be made."""
        self._queue = queue
        self._observer = observer
        self._prefetch = prefetch
        self._connection = Connection(url, f"source of {queue}", on_lost=self._on_lost)
        self._topology = Topology(self._connection, queue_type)
        self._consumer: Consumer | None = None
        #: held while a subscription is made or ended
        self._subscribing = threading.Lock()
        self._pauses = 0
        self._interrupted = threading.Event()
        #: whether the last try to subscribe failed
        self._troubled = False
        self._closed = False

    def next(self, timeout_s: float) -> Delivery | None:
        deadline = time.monotonic() + timeout_s
        pauses = self._pauses
        while not self._closed and self._pauses == pauses:
            consumer = self._consumer
            if consumer is None or not consumer.is_subscribed:
                if not self._subscribe(deadline, pauses):
                    return None
                continue
            try:
                delivery = consumer.inbox.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                return None
            if delivery is not None and consumer.is_alive:
                return delivery
        return None

    def take(self, limit: int) -> list[Delivery]:
        consumer = self._consumer
        taken: list[Delivery] = []
        while consumer is not None and consumer.is_alive and len(taken) < limit:
            try:
                delivery = consumer.inbox.get_nowait()
            except Empty:
                break
            if delivery is not None:
                taken.append(delivery)
        return taken

    def put_aside(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            consumer, _tag = delivery.receipt
            consumer.aside.put(delivery)  # of a channel that is gone: it comes again by itself

    def next_aside(self) -> Delivery | None:
        consumer = self._consumer
        if consumer is None or not consumer.is_alive:
            return None
        try:
            return consumer.aside.get_nowait()
        except Empty:
            return None

    def ack_all(self, deliveries: Sequence[Delivery]) -> None:
        consumer = self._consumer
        if consumer is not None:
            # a receipt of another channel names a tag that here means another message
            consumer.acknowledge_all(
                tag for receiver, tag in (delivery.receipt for delivery in deliveries) if receiver is consumer
            )

    def ack(self, delivery: Delivery) -> None:
        consumer, tag = delivery.receipt
        if isinstance(consumer, Consumer) and consumer is self._consumer:
            consumer.acknowledge(tag)

    def holds(self, delivery: Delivery) -> bool:
        consumer, tag = delivery.receipt
        return isinstance(consumer, Consumer) and consumer is self._consumer and consumer.holds(tag)

    def pause(self) -> None:
        self._pauses += 1
        self._interrupted.set()
        if not self._subscribing.acquire(timeout=ANSWER_TIMEOUT_S):
            return  # the broker does not answer; who subscribes will see that he need not any more
        try:
            consumer = self._consumer
            if consumer is not None and consumer.is_alive:
                self._connection.ask(consumer.unsubscribe, GOODBYE_S)
        except (BrokerUnavailable, ChannelClosedByBroker) as error:
            # a lost connection has given back everything, too
            log.debug("subscription not ended", queue=self._queue, error=str(error))
        finally:
            self._subscribing.release()
            if self._consumer is not None:
                self._consumer.inbox.put(None)  # whoever waits in `next`

    @property
    def connected(self) -> bool:
        return self._connection.connected and not self._troubled

    @property
    def subscribed(self) -> bool:
        return self._consumer is not None and self._consumer.is_subscribed

    @property
    def silent_s(self) -> float:
        return self._connection.silent_s

    def is_deaf(self) -> bool:
        consumer = self._consumer
        if consumer is None or not consumer.is_subscribed:
            return False
        is_ignored = self._topology.waits_without_consumer(self._queue)
        # the same subscription as before the question: another one the broker may not have heard of
        return is_ignored and consumer is self._consumer and consumer.is_subscribed

    def close(self) -> None:
        self._closed = True
        self._interrupted.set()
        # closing the connection closes the channel, behind the acks that are under way
        self._connection.close(GOODBYE_S)

    # -- subscribing ------------------------------------------------------------------------------

    def _subscribe(self, deadline: float, pauses: int) -> bool:
        """False where there was no time, or a pause came. Raises `ConfigurationError`."""
        while True:
            self._interrupted.clear()
            if self._closed or self._pauses != pauses:
                return False
            remaining_s = max(0.0, deadline - time.monotonic())
            # in slices, so that a pause does not have to wait for a broker that is away
            if self._connection.wait_connected(min(remaining_s, PAUSE_S)):
                try:
                    with self._subscribing:
                        if self._pauses == pauses:
                            self._try_to_subscribe()
                except BrokerUnavailable as error:
                    if not self._troubled and self._connection.connected:
                        log.warning("can't subscribe, trying on", queue=self._queue, error=str(error))
                    self._troubled = True
                    self._interrupted.wait(min(PAUSE_S, max(0.0, deadline - time.monotonic())))
                else:
                    if self._troubled:
                        log.info("subscribed again", queue=self._queue)
                    self._troubled = False
                    return True
            if time.monotonic() >= deadline:
                return False

    def _try_to_subscribe(self) -> None:
        consumer = self._consumer
        if consumer is not None and consumer.is_subscribed:
            return  # an answer came late
        if consumer is None or not consumer.is_alive:
            self._topology.declare_work_queue(self._queue)
            consumer = self._consumer = self._open()
        elif consumer.was_cancelled:
            self._topology.declare_work_queue(self._queue)
        subscribing = consumer
        try:
            self._connection.ask(lambda answer: subscribing.subscribe(self._queue, answer))
        except ChannelClosedByBroker as closed:
            explain(closed, f"queue {self._queue!r}", self._connection)

    def _open(self) -> Consumer:
        try:
            return Consumer.open(self._connection, self._prefetch)
        except ChannelClosedByBroker as closed:
            raise BrokerUnavailable(f"the broker closed a new channel: {text_of(closed)}") from closed

    def _on_lost(self, error: Exception) -> None:
        if not self._closed:
            self._observer.connection_lost("source")
        consumer = self._consumer
        if consumer is not None:
            consumer.end(error)
