"""What every adapter of the port `MessagePublisher` has to pass."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator

import pytest

from grid_async_task.ports import Delivery, MessagePublisher, OutgoingMessage


class MessagePublisherContract(ABC):
    """Derive a class whose name begins with `Test`, say how a publisher is made, and let pytest collect it."""

    #: seconds by which a message that is due may be late
    LATE_S = 5.0

    @abstractmethod
    def make_publisher(self) -> MessagePublisher:
        """A publisher of its own. The contract closes it."""

    @abstractmethod
    def new_queue(self) -> str:
        """The name of a queue that does not exist yet."""

    @abstractmethod
    def take(self, queue: str, timeout_s: float) -> Delivery | None:
        """The next message of an existing queue, removed from it for good; None when none comes in time."""

    @pytest.fixture(autouse=True)
    def _publisher_and_queue(self) -> Iterator[None]:
        self.queue = self.new_queue()
        self.publisher = self.make_publisher()
        yield
        self.publisher.close()

    def bodies(self, queue: str, count: int) -> list[bytes]:
        """So many bodies from the queue, in the order in which they come."""
        taken = [self.take(queue, self.LATE_S) for _ in range(count)]
        return [delivery.body for delivery in taken if delivery is not None]

    def is_empty(self, queue: str) -> bool:
        return self.take(queue, 0.3) is None

    # -- what arrives -------------------------------------------------------------------------

    def test_the_body_arrives_byte_for_byte(self) -> None:
        body = bytes(range(256)) * 300
        self.publisher.publish(OutgoingMessage(self.queue, body))
        assert self.bodies(self.queue, 1) == [body]

    def test_an_empty_body_arrives(self) -> None:
        self.publisher.publish(OutgoingMessage(self.queue, b""))
        assert self.bodies(self.queue, 1) == [b""]

    def test_headers_and_properties_arrive(self) -> None:
        headers = {"x-grid-reason": "task_id", "x-grid-error": "值 é", "x-count": 3, "x-long": "a" * 3000}
        properties = {"content_type": "application/json", "message_id": "m-1", "correlation_id": "c-1", "type": "t"}
        self.publisher.publish(OutgoingMessage(self.queue, b"{}", headers=headers, properties=properties))
        arrived = self.take(self.queue, self.LATE_S)
        assert arrived is not None
        assert {name: arrived.headers[name] for name in headers} == headers
        assert {name: arrived.properties[name] for name in properties} == properties

    def test_a_message_without_headers_and_properties_arrives(self) -> None:
        self.publisher.publish(OutgoingMessage(self.queue, b"{}"))
        arrived = self.take(self.queue, self.LATE_S)
        assert arrived is not None
        assert "content_type" not in arrived.properties
        assert "message_id" not in arrived.properties

    def test_messages_arrive_in_the_order_of_publishing(self) -> None:
        expected = [str(number).encode() for number in range(20)]
        for body in expected:
            self.publisher.publish(OutgoingMessage(self.queue, body))
        assert self.bodies(self.queue, 20) == expected

    def test_a_message_arrives_once(self) -> None:
        self.publisher.publish(OutgoingMessage(self.queue, b"once"))
        assert self.bodies(self.queue, 1) == [b"once"]
        assert self.is_empty(self.queue)

    def test_a_message_goes_to_its_own_queue_only(self) -> None:
        other = self.new_queue()
        self.publisher.declare(other)
        self.publisher.publish(OutgoingMessage(self.queue, b"mine"))
        assert self.is_empty(other)
        assert self.bodies(self.queue, 1) == [b"mine"]

    def test_queue_names_are_taken_literally(self) -> None:
        # names with dots and wildcards have meanings of their own in some brokers
        names = [self.queue + suffix for suffix in (".a", ".#", ".*", "-队列")]
        for name in names:
            self.publisher.publish(OutgoingMessage(name, name.encode(), delay_s=0.1))
        for name in names:
            assert self.bodies(name, 1) == [name.encode()]
            assert self.is_empty(name)

    # -- many at once -------------------------------------------------------------------------

    def test_many_are_answered_one_by_one_and_arrive_in_order(self) -> None:
        other = self.new_queue()
        messages = [OutgoingMessage(other if n % 5 == 0 else self.queue, str(n).encode()) for n in range(500)]
        assert self.publisher.publish_many(messages) == [None] * 500
        for queue in (self.queue, other):
            expected = [message.body for message in messages if message.queue == queue]
            assert self.bodies(queue, len(expected)) == expected
            assert self.is_empty(queue)

    def test_none_at_all_is_fine(self) -> None:
        assert self.publisher.publish_many([]) == []

    def test_threads_may_share_a_publisher(self) -> None:
        self.publisher.declare(self.queue)
        errors: list[Exception] = []

        def publish_some(thread: int) -> None:
            try:
                for number in range(10):
                    self.publisher.publish(OutgoingMessage(self.queue, f"{thread}-{number}".encode()))
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=publish_some, args=(thread,)) for thread in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        expected = {f"{thread}-{number}".encode() for thread in range(4) for number in range(10)}
        assert set(self.bodies(self.queue, 40)) == expected
        assert self.is_empty(self.queue)

    # -- delays -------------------------------------------------------------------------------

    def test_a_delayed_message_is_not_early_and_does_arrive(self) -> None:
        self.publisher.declare(self.queue)
        before = time.monotonic()
        self.publisher.publish(OutgoingMessage(self.queue, b"later", delay_s=1.2, headers={"x-kept": "yes"}))
        arrived = self.take(self.queue, 1.2 + self.LATE_S)
        took = time.monotonic() - before
        assert arrived is not None
        assert arrived.body == b"later"
        assert arrived.headers["x-kept"] == "yes"
        assert took >= 1.2
        assert self.is_empty(self.queue)

    def test_a_delayed_message_holds_up_no_other(self) -> None:
        slow = OutgoingMessage(self.queue, b"slow", delay_s=3)
        quick = OutgoingMessage(self.queue, b"quick", delay_s=1)
        at_once = OutgoingMessage(self.queue, b"at once")
        assert self.publisher.publish_many([slow, quick, at_once]) == [None] * 3
        assert self.bodies(self.queue, 3) == [b"at once", b"quick", b"slow"]

    def test_a_delayed_message_is_not_ready_before_its_time(self) -> None:
        self.publisher.publish(OutgoingMessage(self.queue, b"far off", delay_s=3600))
        assert self.publisher.declare(self.queue).ready == 0
        assert self.is_empty(self.queue)

    def test_a_delayed_message_outlives_its_publisher(self) -> None:
        other = self.make_publisher()
        other.publish(OutgoingMessage(self.queue, b"kept", delay_s=1))
        other.close()
        assert self.bodies(self.queue, 1) == [b"kept"]

    # -- queues -------------------------------------------------------------------------------

    def test_a_new_queue_is_declared_empty(self) -> None:
        assert self.publisher.declare(self.queue).ready == 0
        assert self.is_empty(self.queue)

    def test_declaring_tells_how_many_are_ready(self) -> None:
        self.publisher.publish_many([OutgoingMessage(self.queue, b"x")] * 3)
        assert self.publisher.declare(self.queue).ready == 3
        assert self.publisher.declare(self.queue).ready == 3, "asking takes nothing away"

    def test_looking_at_a_queue_makes_none(self) -> None:
        for _ in range(2):
            assert self.publisher.look_at(self.queue) is None
        self.publisher.publish_many([OutgoingMessage(self.queue, b"x")] * 3)
        state = self.publisher.look_at(self.queue)
        assert state is not None
        assert state.ready == 3
        assert not state.consumers

    def test_nothing_is_stranded_where_every_queue_is_there(self) -> None:
        self.publisher.publish(OutgoingMessage(self.queue, b"x", delay_s=1))
        assert self.bodies(self.queue, 1) == [b"x"]
        assert self.publisher.rescue_stranded() == 0

    def test_closing_twice_is_harmless(self) -> None:
        self.publisher.publish(OutgoingMessage(self.queue, b"safe"))
        self.publisher.close()
        self.publisher.close()
        assert self.bodies(self.queue, 1) == [b"safe"]

    def test_closing_one_that_never_published_is_harmless(self) -> None:
        self.make_publisher().close()
