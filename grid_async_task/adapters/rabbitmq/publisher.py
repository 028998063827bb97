"""The port `MessagePublisher` for RabbitMQ: confirmed, mandatory, pipelined."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence

from grid_async_task.adapters.rabbitmq.confirms import ConfirmChannel, NotWritten, Post, Unroutable
from grid_async_task.adapters.rabbitmq.connection import ANSWER_TIMEOUT_S, Connection
from grid_async_task.adapters.rabbitmq.stranded import rescue
from grid_async_task.adapters.rabbitmq.topology import QueueType, Topology
from grid_async_task.domain.errors import ConfigurationError, GridAsyncTaskError
from grid_async_task.ports import (
    NO_OBSERVER,
    BrokerUnavailable,
    MessagePublisher,
    Observer,
    OutgoingMessage,
    PublishRefused,
    QueueState,
)

#: seconds between tries on a connection that is there and does not work
PAUSE_S = 0.1
#: seconds for `close`, whatever the broker does
GOODBYE_S = 3.0


class RabbitMessagePublisher(MessagePublisher):
    """Publishes over a connection of its own, which exists from the first publish on."""

    def __init__(
        self,
        url: str,
        *,
        queue_type: QueueType | None = None,
        timeout_s: float = 30.0,
        observer: Observer = NO_OBSERVER,
    ) -> None:
        """`queue_type` is for queues that have to be made; `timeout_s` for one call, reconnecting included."""
        self._connection = Connection(url, "publisher", on_lost=self._on_lost)
        self._topology = Topology(self._connection, queue_type)
        self._timeout_s = timeout_s
        self._observer = observer
        self._opening = threading.Lock()
        self._channel: ConfirmChannel | None = None
        #: queues which this connection has seen to be bound to the ladder
        self._on_ladder: set[str] = set()
        self._closed = False

    def publish(self, message: OutgoingMessage) -> None:
        error = self.publish_many([message])[0]
        if error is not None:
            raise error

    def publish_many(self, messages: Sequence[OutgoingMessage]) -> list[Exception | None]:
        deadline = time.monotonic() + self._timeout_s
        outcomes = self._deliver(dict(enumerate(messages)), deadline)
        # a named exchange's bindings are somebody else's
        homeless = {
            index: message
            for index, message in enumerate(messages)
            if isinstance(outcomes[index], Unroutable) and not message.exchange
        }
        if homeless:
            errors = self._make_queues({message.queue for message in homeless.values()})
            outcomes.update({index: errors.get(message.queue) for index, message in homeless.items()})
            settled = {index: message for index, message in homeless.items() if message.queue not in errors}
            outcomes.update(self._deliver(settled, deadline))
        return [_as_promised(outcomes[index], message) for index, message in enumerate(messages)]

    def declare(self, queue: str) -> QueueState:
        self._connect(time.monotonic() + self._timeout_s)
        ready = self._topology.declare_work_queue(queue)
        self._on_ladder.add(queue)
        return QueueState(ready)

    def look_at(self, queue: str) -> QueueState | None:
        self._connect(time.monotonic() + self._timeout_s)
        counts = self._topology.counts(queue)
        return None if counts is None else QueueState(*counts)

    def rescue_stranded(self) -> int:
        self._connect(time.monotonic() + self._timeout_s)
        return rescue(self._connection, self)

    @property
    def silent_s(self) -> float:
        return self._connection.silent_s

    def close(self) -> None:
        self._closed = True
        self._connection.close(GOODBYE_S)

    # -- one message, one try ---------------------------------------------------------------------

    def _deliver(self, messages: Mapping[int, OutgoingMessage], deadline: float) -> dict[int, Exception | None]:
        """Write and wait. What was not written when a connection died is no failure while there is time."""
        outcomes: dict[int, Exception | None] = {}
        waiting = dict(messages)
        while waiting:
            try:
                channel = self._confirm_channel(deadline)
                unbound = self._bind_to_ladder({message.queue for message in waiting.values() if message.delay_s > 0})
            except BrokerUnavailable as error:
                if self._closed or time.monotonic() >= deadline:
                    return {**outcomes, **dict.fromkeys(waiting, error)}
                time.sleep(PAUSE_S)
                continue
            except ConfigurationError as error:
                return {**outcomes, **dict.fromkeys(waiting, error)}
            for index, message in list(waiting.items()):
                if message.delay_s > 0 and message.queue in unbound:
                    outcomes[index] = unbound[message.queue]
                    del waiting[index]
            post = Post(list(waiting.values()))
            channel.send(post)
            came = dict(zip(waiting, post.wait(max(0.0, deadline - time.monotonic())), strict=True))
            outcomes.update(came)
            waiting = {index: message for index, message in waiting.items() if isinstance(came[index], NotWritten)}
        return outcomes

    def _confirm_channel(self, deadline: float) -> ConfirmChannel:
        self._connect(deadline)
        if not self._opening.acquire(timeout=ANSWER_TIMEOUT_S):
            raise BrokerUnavailable("another thread is still opening the channel")
        try:
            channel = self._channel
            if channel is None or not channel.is_open:
                channel = self._channel = ConfirmChannel.open(self._connection)
            return channel
        finally:
            self._opening.release()

    def _bind_to_ladder(self, queues: Iterable[str]) -> dict[str, Exception]:
        """See that delayed messages will find these queues; those where it is refused, and why."""
        refused: dict[str, Exception] = {}
        for queue in queues:
            if queue in self._on_ladder:
                continue
            try:
                self._topology.declare_work_queue(queue)
            except ConfigurationError as error:
                refused[queue] = PublishRefused(str(error))
            else:
                self._on_ladder.add(queue)
        return refused

    def _make_queues(self, queues: Iterable[str]) -> dict[str, Exception]:
        """Those that could not be made, and why."""
        errors: dict[str, Exception] = {}
        for queue in queues:
            try:
                self._topology.declare_queue(queue)
            except ConfigurationError as error:
                errors[queue] = PublishRefused(str(error))
            except GridAsyncTaskError as error:
                errors[queue] = error
        return errors

    def _connect(self, deadline: float) -> None:
        if not self._connection.wait_connected(max(0.0, deadline - time.monotonic())):
            raise BrokerUnavailable(f"no connection to the broker at {self._connection.address}")

    def _on_lost(self, error: Exception) -> None:
        if not self._closed:
            self._observer.connection_lost("publisher")
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.abandon(error)
        self._on_ladder = set()  # the broker may come back as an empty one


def _as_promised(outcome: Exception | None, message: OutgoingMessage) -> Exception | None:
    """In the words of the port."""
    if isinstance(outcome, Unroutable):
        where = f"exchange {message.exchange!r} leads to no queue for the key" if message.exchange else "no queue named"
        return PublishRefused(f"{where} {message.queue!r}: {outcome}")
    return outcome
