"""A channel with publisher confirms: which message each of the broker's answers is about."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from pika import BasicProperties
from pika.channel import Channel
from pika.exceptions import ChannelClosedByBroker
from pika.frame import Method
from pika.spec import Basic

from grid_async_task.adapters.rabbitmq.connection import Connection, Done
from grid_async_task.adapters.rabbitmq.error_text import text_of
from grid_async_task.adapters.rabbitmq.letter import Letter, letter_of
from grid_async_task.ports import BrokerUnavailable, OutgoingMessage, PublishRefused

#: what RabbitMQ calls the exchange without a name
DEFAULT_EXCHANGE = "amq.default"
#: messages handed to the socket in one go; the broker works on them while the next are encoded
PIECE = 200


class Unroutable(Exception):
    """No queue is bound where the message was sent to. It was not taken."""


class NotWritten(Exception):
    """The channel was gone before the message was written."""


class Post:
    """Messages on their way, and what became of each. Waited for as a whole."""

    def __init__(self, messages: Sequence[OutgoingMessage]) -> None:
        self.messages = messages
        self.outcomes: list[Exception | None] = [None] * len(messages)
        self._open = set(range(len(messages)))
        self._settled = threading.Event()
        if not messages:
            self._settled.set()

    def settle(self, index: int, outcome: Exception | None) -> None:
        if index in self._open:
            self._open.discard(index)
            self.outcomes[index] = outcome
            if not self._open:
                self._settled.set()

    def settle_all(self, outcome: Exception) -> None:
        for index in list(self._open):
            self.settle(index, outcome)

    def wait(self, timeout_s: float) -> list[Exception | None]:
        """What became of them; those without an answer by now are `BrokerUnavailable`."""
        if self._settled.wait(timeout_s):
            return list(self.outcomes)
        late = BrokerUnavailable(
            "the broker did not confirm in time: it hangs, has an alarm, or a quorum queue has no leader "
            "(rabbitmqctl list_queues name leader state)",
            maybe_sent=True,
        )
        unsettled = set(self._open)
        return [late if index in unsettled else outcome for index, outcome in enumerate(self.outcomes)]


@dataclass(slots=True)
class _Unconfirmed:
    post: Post
    index: int
    letter: Letter
    returned: str | None = None


class ConfirmChannel:
    """Lives as long as its channel. All but `open` and `send` runs on the I/O thread."""

    def __init__(self, connection: Connection, channel: Channel) -> None:
        self._connection = connection
        self._channel = channel
        self._last_tag = 0
        self._unconfirmed: dict[int, _Unconfirmed] = {}  # in the order of writing
        self._unwritten: set[Post] = set()

    @classmethod
    def open(cls, connection: Connection) -> ConfirmChannel:
        """Raises `BrokerUnavailable`."""

        def say(channel: Channel, done: Done[ConfirmChannel]) -> None:
            confirms = cls(connection, channel)
            channel.add_on_return_callback(confirms._on_return)
            channel.add_on_close_callback(confirms._on_close)
            channel.confirm_delivery(confirms._on_answer, callback=lambda _frame: done(confirms))

        try:
            return connection.converse(say, keep=True)
        except ChannelClosedByBroker as closed:
            raise BrokerUnavailable(f"the broker closed a new channel: {text_of(closed)}") from closed

    @property
    def is_open(self) -> bool:
        return self._channel.is_open

    def send(self, post: Post) -> None:
        """Have it written; `post.wait` tells how it went."""
        self._unwritten.add(post)
        if not self._connection.post(lambda: self._write(post)):
            self._unwritten.discard(post)
            post.settle_all(NotWritten())

    def abandon(self, error: Exception) -> None:
        """The channel, its connection or the I/O loop has ended: what was not written by now never will be."""
        unconfirmed, self._unconfirmed = self._unconfirmed, {}
        alone = len(unconfirmed) == 1
        for each in unconfirmed.values():
            each.post.settle(each.index, _verdict_on_loss(error, each.letter, alone))
        unwritten, self._unwritten = self._unwritten, set()
        for post in list(unwritten):
            post.settle_all(NotWritten())

    def _write(self, post: Post, begin: int = 0) -> None:
        """A piece at a time: what is written leaves only when the I/O loop has its turn."""
        end = begin + PIECE
        for index, message in enumerate(post.messages[begin:end], begin):
            self._write_one(post, index, message)
        if end < len(post.messages):
            self._connection.post(lambda: self._write(post, end))  # else the loop has ended: see `abandon`
        else:
            self._unwritten.discard(post)

    def _write_one(self, post: Post, index: int, message: OutgoingMessage) -> None:
        if not self._channel.is_open:
            post.settle(index, NotWritten())
            return
        tag = self._last_tag + 1
        try:
            letter = letter_of(message)
            # known as unconfirmed before it is written: the write itself may find the connection dead
            self._unconfirmed[tag] = _Unconfirmed(post, index, letter)
            self._channel.basic_publish(
                letter.exchange, letter.routing_key, letter.body, letter.properties, mandatory=True
            )
        except Exception as error:
            # it can't be encoded, for whatever reason; pika encodes all of a message before it writes any of it
            self._unconfirmed.pop(tag, None)
            post.settle(index, PublishRefused(f"not a message that AMQP can carry: {text_of(error)}"))
        else:
            self._last_tag = tag

    def _on_answer(self, frame: Method[Basic.Ack | Basic.Nack]) -> None:
        answer = frame.method
        if answer.multiple:
            tags = list(takewhile(lambda tag: tag <= answer.delivery_tag, self._unconfirmed))
        else:
            tags = [answer.delivery_tag]
        for tag in tags:
            each = self._unconfirmed.pop(tag, None)
            if each is None:
                continue
            outcome: Exception | None = None
            if isinstance(answer, Basic.Nack):
                outcome = PublishRefused("the broker did not take the message (queue full, or it failed)")
            elif each.returned is not None:
                outcome = Unroutable(each.returned)
            each.post.settle(each.index, outcome)

    def _on_return(self, _channel: Channel, returned: Basic.Return, _properties: BasicProperties, body: bytes) -> None:
        # A return names no tag, but comes before its message's confirm, and in the order of writing.
        for each in self._unconfirmed.values():
            if (
                each.returned is None
                and each.letter.routing_key == returned.routing_key
                and each.letter.exchange == returned.exchange
                and each.letter.body == body
            ):
                each.returned = f"{returned.reply_code} {returned.reply_text}"
                return

    def _on_close(self, _channel: Channel, reason: Exception) -> None:
        self.abandon(reason)


def _verdict_on_loss(error: Exception, letter: Letter, alone: bool) -> Exception:
    if isinstance(error, ChannelClosedByBroker):
        # the broker names the exchange that it knows not, or that this user may not write to
        is_meant = f"exchange '{letter.exchange or DEFAULT_EXCHANGE}'" in error.reply_text
        if alone or is_meant:
            return PublishRefused(f"the broker refused the message: {error.reply_code} {error.reply_text}")
    return BrokerUnavailable(f"the connection was lost before the broker confirmed: {text_of(error)}", maybe_sent=True)
