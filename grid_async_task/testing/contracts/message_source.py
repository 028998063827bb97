"""What every adapter of the port `MessageSource` has to pass."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator

import pytest

from grid_async_task.ports import Delivery, MessagePublisher, MessageSource, OutgoingMessage


class MessageSourceContract(ABC):
    """Derive a class whose name begins with `Test`, say how sources are made, and let pytest collect it."""

    #: seconds within which a ready message has to be handed out
    SOON_S = 5.0
    #: seconds of waiting that show that no message comes
    QUIET_S = 0.5

    @abstractmethod
    def make_source(self, queue: str, prefetch: int) -> MessageSource:
        """A source of its own, of the queue. The contract closes it."""

    @abstractmethod
    def make_publisher(self) -> MessagePublisher:
        """Something that puts messages on the queues of those sources. The contract closes it."""

    @abstractmethod
    def new_queue(self) -> str:
        """The name of a queue that does not exist yet."""

    @pytest.fixture(autouse=True)
    def _sources_and_publisher(self) -> Iterator[None]:
        self._sources: list[MessageSource] = []
        self.queue = self.new_queue()
        self.publisher = self.make_publisher()
        yield
        for source in self._sources:
            source.close()
        self.publisher.close()

    def source(self, prefetch: int = 1) -> MessageSource:
        source = self.make_source(self.queue, prefetch)
        self._sources.append(source)
        return source

    def send(self, *bodies: bytes) -> None:
        messages = [OutgoingMessage(self.queue, body) for body in bodies]
        assert self.publisher.publish_many(messages) == [None] * len(bodies)

    def take(self, source: MessageSource) -> Delivery:
        """The next delivery, which has to come."""
        delivery = source.next(self.SOON_S)
        assert delivery is not None, f"no message within {self.SOON_S} s"
        return delivery

    def is_quiet(self, source: MessageSource) -> bool:
        return source.next(self.QUIET_S) is None

    def ready_becomes(self, count: int) -> bool:
        """A broker may take a moment to count what was given back."""
        deadline = time.monotonic() + self.SOON_S
        while self.publisher.declare(self.queue).ready != count:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    # -- several at once ----------------------------------------------------------------------

    def test_what_is_taken_ahead_is_never_more_than_asked_for_and_each_once(self) -> None:
        self.send(*(b"%d" % number for number in range(8)))
        source = self.source(prefetch=8)
        came = [self.take(source)]
        while len(came) < 8:
            taken = source.take(2)
            assert len(taken) <= 2
            came += taken or [self.take(source)]
        assert [delivery.body for delivery in came] == [b"%d" % number for number in range(8)]
        assert source.take(2) == []

    @pytest.mark.parametrize("done", [(0, 1, 2), (0, 2), (1, 2), (3,), (0, 1, 2, 3)], ids=str)
    def test_those_and_no_others_are_acknowledged_together(self, done: tuple[int, ...]) -> None:
        self.send(b"0", b"1", b"2", b"3")
        source = self.source(prefetch=4)
        deliveries = [self.take(source) for _ in range(4)]
        source.ack_all([deliveries[number] for number in done])
        source.ack_all([])
        source.close()
        rest = {b"%d" % number for number in range(4) if number not in done}
        assert self.ready_becomes(len(rest))
        other = self.source(prefetch=4)
        assert {self.take(other).body for _ in rest} == rest
        assert self.is_quiet(other)

    # -- taking -------------------------------------------------------------------------------

    def test_a_message_arrives_as_it_was_sent(self) -> None:
        body = bytes(range(256)) * 300
        headers = {"x-text": "值 é", "x-count": 3}
        properties = {"content_type": "application/json", "message_id": "m-1"}
        self.publisher.publish(OutgoingMessage(self.queue, body, headers=headers, properties=properties))
        delivery = self.take(self.source())
        assert delivery.body == body
        assert {name: delivery.headers[name] for name in headers} == headers
        assert {name: delivery.properties[name] for name in properties} == properties
        assert delivery.delivery_count == 0

    def test_messages_come_in_the_order_of_publishing(self) -> None:
        expected = [str(number).encode() for number in range(20)]
        self.send(*expected)
        source = self.source()
        came = []
        for _ in expected:
            delivery = self.take(source)
            came.append(delivery.body)
            source.ack(delivery)
        assert came == expected

    def test_a_missing_queue_is_made(self) -> None:
        source = self.source()
        assert self.is_quiet(source)
        self.send(b"first")
        assert self.take(source).body == b"first"

    def test_waiting_ends_after_the_given_time(self) -> None:
        source = self.source()
        source.next(0.0)
        before = time.monotonic()
        assert source.next(0.4) is None
        took = time.monotonic() - before
        assert 0.35 <= took < 0.4 + self.SOON_S

    def test_waiting_ends_when_a_message_comes(self) -> None:
        source = self.source()
        assert self.is_quiet(source)
        sender = threading.Timer(0.3, self.send, args=(b"news",))
        sender.start()
        before = time.monotonic()
        delivery = source.next(60)
        sender.join()
        assert delivery is not None
        assert delivery.body == b"news"
        assert time.monotonic() - before < 0.3 + self.SOON_S

    def test_a_delayed_message_comes_when_it_is_due(self) -> None:
        source = self.source()
        before = time.monotonic()
        self.publisher.publish(OutgoingMessage(self.queue, b"later", delay_s=1))
        delivery = source.next(1 + self.SOON_S)
        assert delivery is not None
        assert delivery.body == b"later"
        assert time.monotonic() - before >= 1

    # -- acknowledging ------------------------------------------------------------------------

    def test_an_acknowledged_message_is_gone(self) -> None:
        self.send(b"done")
        source = self.source()
        source.ack(self.take(source))
        source.close()
        assert self.publisher.declare(self.queue).ready == 0
        assert self.is_quiet(self.source())

    def test_an_unacknowledged_message_comes_back_after_close(self) -> None:
        self.send(b"undone")
        source = self.source()
        self.take(source)
        source.close()
        assert self.take(self.source()).body == b"undone"

    def test_acknowledging_one_leaves_the_others(self) -> None:
        self.send(b"1", b"2", b"3")
        source = self.source(prefetch=3)
        _first, second, _third = [self.take(source) for _ in range(3)]
        source.ack(second)
        source.close()
        again = self.source(prefetch=3)
        assert {self.take(again).body, self.take(again).body} == {b"1", b"3"}
        assert self.is_quiet(again)

    def test_acknowledging_twice_is_harmless(self) -> None:
        self.send(b"1", b"2")
        source = self.source()
        first = self.take(source)
        source.ack(first)
        second = self.take(source)
        source.ack(first)
        assert self.is_quiet(source), "the second message still is in hand"
        source.ack(second)
        self.send(b"3")
        third = self.take(source)
        assert third.body == b"3"
        source.ack(third)

    def test_another_sources_delivery_is_not_acknowledged_by_chance(self) -> None:
        # a receipt means something to its own source only; a stale one must not hit another message
        self.send(b"mine", b"yours")
        mine, yours = self.source(), self.source()
        stale = self.take(mine)
        mine.close()
        held = [self.take(yours)]
        yours.ack(stale)
        mine.ack(stale)
        yours.close()
        again = self.source(prefetch=2)
        assert {self.take(again).body, self.take(again).body} == {b"mine", b"yours"}
        assert held[0].body in (b"mine", b"yours")

    def test_it_knows_what_it_holds(self) -> None:
        self.send(b"1", b"2")
        mine, yours = self.source(), self.source()
        first, second = self.take(mine), self.take(yours)
        assert (mine.holds(first), mine.holds(second)) == (True, False)
        mine.ack(first)
        assert (mine.holds(first), yours.holds(second)) == (False, True)

    # -- sharing ------------------------------------------------------------------------------

    def test_two_sources_never_share_a_message(self) -> None:
        expected = {str(number).encode() for number in range(40)}
        self.send(*expected)
        sources = [self.source(), self.source()]
        came: list[bytes] = []
        while len(came) < len(expected):
            for source in sources:
                delivery = source.next(0.2)
                if delivery is not None:
                    came.append(delivery.body)
                    source.ack(delivery)
        assert len(came) == len(set(came))
        assert set(came) == expected
        assert all(self.is_quiet(source) for source in sources)

    def test_no_more_than_prefetch_are_in_hand(self) -> None:
        self.send(b"1", b"2", b"3")
        source = self.source(prefetch=2)
        first, second = self.take(source), self.take(source)
        assert self.is_quiet(source)
        assert self.take(self.source()).body == b"3", "others can have the rest"
        self.send(b"4")
        source.ack(first)
        source.ack(second)
        assert self.take(source).body == b"4"

    # -- pausing ------------------------------------------------------------------------------

    def test_a_pause_gives_back_what_was_not_handed_out(self) -> None:
        self.send(b"1", b"2", b"3")
        source = self.source(prefetch=3)
        in_hand = self.take(source)
        source.pause()
        assert self.ready_becomes(2)
        other = self.source(prefetch=3)
        assert [self.take(other).body, self.take(other).body] == [b"2", b"3"]
        assert self.is_quiet(other), "what is in hand stays in hand"
        source.ack(in_hand)
        source.close()
        assert self.is_quiet(other), "and can be acknowledged"

    def test_nothing_is_taken_during_a_pause(self) -> None:
        source = self.source()
        assert self.is_quiet(source)
        source.pause()
        self.send(b"for others")
        time.sleep(self.QUIET_S)  # nothing can be waited for: nothing is to happen
        assert self.ready_becomes(1)

    def test_asking_for_the_next_ends_a_pause(self) -> None:
        source = self.source()
        source.pause()
        self.send(b"1")
        assert self.take(source).body == b"1"

    def test_a_pause_may_come_from_another_thread_and_twice(self) -> None:
        self.send(b"1", b"2")
        source = self.source(prefetch=2)
        self.take(source)
        threads = [threading.Thread(target=source.pause) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert self.ready_becomes(1)

    # -- coming and going ---------------------------------------------------------------------

    def test_it_tells_whether_it_is_connected(self) -> None:
        source = self.source()
        deadline = time.monotonic() + self.SOON_S
        while not source.connected and time.monotonic() < deadline:
            source.next(self.QUIET_S)
        assert source.connected
        source.close()
        assert not source.connected

    def test_closing_gives_back_what_was_not_handed_out(self) -> None:
        self.send(b"1", b"2", b"3")
        source = self.source(prefetch=3)
        source.ack(self.take(source))
        source.close()
        again = self.source(prefetch=3)
        assert {self.take(again).body, self.take(again).body} == {b"2", b"3"}
        assert self.is_quiet(again)

    def test_closing_twice_is_harmless(self) -> None:
        source = self.source()
        source.next(0.1)
        source.close()
        source.close()

    def test_closing_one_that_never_took_anything_is_harmless(self) -> None:
        self.source().close()

    def test_many_acknowledgements_are_not_lost_by_close(self) -> None:
        self.send(*[b"x"] * 200)
        source = self.source(prefetch=50)
        for _ in range(200):
            source.ack(self.take(source))
        source.close()
        assert self.is_quiet(self.source())
