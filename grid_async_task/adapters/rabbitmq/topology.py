"""Queues, and the delay ladder they share: what exists is taken as it is, what is missing is made.

A failing question closes its channel, so each is asked on a channel of its own. Passive
questions come first: they need no rights, and know no wrong arguments.
"""

from __future__ import annotations

from typing import Literal, NoReturn

from pika.channel import Channel
from pika.exceptions import ChannelClosedByBroker

from grid_async_task.adapters.rabbitmq.connection import Connection, Done
from grid_async_task.adapters.rabbitmq.delay_ladder import bind_to_ladder, declare_ladder
from grid_async_task.domain.errors import ConfigurationError
from grid_async_task.ports import BrokerUnavailable

QueueType = Literal["classic", "quorum"]

#: AMQP reply codes of a closed channel
ACCESS_REFUSED = 403
NOT_FOUND = 404
RESOURCE_LOCKED = 405
PRECONDITION_FAILED = 406

#: the first worker of a virtual host makes 18 quorum queues
LADDER_TIMEOUT_S = 60.0


class Topology:
    """Declares over one connection. All methods raise `BrokerUnavailable` and `ConfigurationError`."""

    def __init__(self, connection: Connection, queue_type: QueueType | None) -> None:
        self._connection = connection
        self._queue_type = queue_type

    def declare_queue(self, queue: str) -> int:
        """See that the queue exists. How many messages are ready in it."""
        try:
            return self._ready(queue)
        except ChannelClosedByBroker as closed:
            if closed.reply_code != NOT_FOUND:
                self._fail(closed, f"queue {queue!r}")
        try:
            return self._create(queue)
        except ChannelClosedByBroker as closed:
            if closed.reply_code != PRECONDITION_FAILED:
                self._fail(closed, f"queue {queue!r}")
        # somebody else has made it this very moment, with arguments of their own
        try:
            return self._ready(queue)
        except ChannelClosedByBroker as closed:
            self._fail(closed, f"queue {queue!r}")

    def declare_work_queue(self, queue: str) -> int:
        """The same, and see that delayed messages find it."""
        ready = self.declare_queue(queue)
        try:
            self._bind(queue)
        except ChannelClosedByBroker as closed:
            if closed.reply_code != NOT_FOUND:
                self._fail(closed, f"binding of queue {queue!r} to the delay ladder")
            self._declare_ladder()
            try:
                self._bind(queue)
            except ChannelClosedByBroker as again:
                self._fail(again, f"binding of queue {queue!r} to the delay ladder")
        return ready

    def waits_without_consumer(self, queue: str) -> bool:
        """Whether messages are ready in a queue that nobody consumes. False for one that is missing."""

        def ask(channel: Channel, done: Done[bool]) -> None:
            # the count of messages counts: a quorum queue without a leader says 0 of both
            channel.queue_declare(
                queue,
                passive=True,
                callback=lambda frame: done(frame.method.message_count > 0 and frame.method.consumer_count == 0),
            )

        try:
            return self._connection.converse(ask)
        except ChannelClosedByBroker:
            return False

    def counts(self, queue: str) -> tuple[int, int] | None:
        """How many messages are ready in a queue, and how many consumers it has; None for one that is missing."""

        def ask(channel: Channel, done: Done[tuple[int, int]]) -> None:
            channel.queue_declare(
                queue,
                passive=True,
                callback=lambda frame: done((frame.method.message_count, frame.method.consumer_count)),
            )

        try:
            return self._connection.converse(ask)
        except ChannelClosedByBroker as closed:
            if closed.reply_code == NOT_FOUND:
                return None
            self._fail(closed, f"queue {queue!r}")

    def _ready(self, queue: str) -> int:
        def ask(channel: Channel, done: Done[int]) -> None:
            channel.queue_declare(queue, passive=True, callback=lambda frame: done(frame.method.message_count))

        return self._connection.converse(ask)

    def _create(self, queue: str) -> int:
        arguments = {"x-queue-type": self._queue_type} if self._queue_type else None

        def ask(channel: Channel, done: Done[int]) -> None:
            channel.queue_declare(
                queue, durable=True, arguments=arguments, callback=lambda frame: done(frame.method.message_count)
            )

        return self._connection.converse(ask)

    def _bind(self, queue: str) -> None:
        def ask(channel: Channel, done: Done[None]) -> None:
            bind_to_ladder(channel, queue, lambda _frame: done(None))

        self._connection.converse(ask)

    def _declare_ladder(self) -> None:
        def ask(channel: Channel, done: Done[None]) -> None:
            declare_ladder(channel, lambda _frame: done(None))

        try:
            self._connection.converse(ask, timeout_s=LADDER_TIMEOUT_S)
        except ChannelClosedByBroker as closed:
            self._fail(closed, "the delay ladder (exchanges and queues grid_async_task.*)")

    def _fail(self, closed: ChannelClosedByBroker, what: str) -> NoReturn:
        explain(closed, what, self._connection)


def explain(closed: ChannelClosedByBroker, what: str, connection: Connection) -> NoReturn:
    """Raise what the broker's refusal of something means: `ConfigurationError`, or `BrokerUnavailable` if it passes."""
    user, host = connection.user, connection.virtual_host
    said = f"the broker refuses {what}: {closed.reply_code} {closed.reply_text}"
    if closed.reply_code == ACCESS_REFUSED:
        raise ConfigurationError(
            f"{said}. An administrator has to make it once (`migrate --print` shows how) and grant the user "
            f"{user!r} read and write on it, or let the user make it: "
            f"rabbitmqctl set_permissions -p {host} {user} '.*' '.*' '.*'"
        ) from closed
    if closed.reply_code == RESOURCE_LOCKED:
        raise ConfigurationError(f"{said}. Another connection has it for itself; use another queue") from closed
    if closed.reply_code == PRECONDITION_FAILED:
        raise ConfigurationError(f"{said}. It exists with other arguments; delete it or make it anew") from closed
    # a node that is down or has no leader yet: it passes
    raise BrokerUnavailable(said) from closed
