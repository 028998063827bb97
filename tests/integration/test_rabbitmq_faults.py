"""What brokers do to their clients: die, come late, delete queues, refuse logins."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pika
import pytest

from grid_async_task import ConfigurationError
from grid_async_task.adapters.memory import MemoryTaskRepository
from grid_async_task.adapters.process.clock import SystemClock
from grid_async_task.adapters.rabbitmq import RabbitMessagePublisher, RabbitMessageSource, consumer
from grid_async_task.adapters.rabbitmq.confirms import PIECE, ConfirmChannel, NotWritten, Post
from grid_async_task.adapters.rabbitmq.connection import Connection
from grid_async_task.application.dead_letter_desk import DeadLetterDesk
from grid_async_task.application.dead_letters import SUFFIX
from grid_async_task.application.refusal import Refused
from grid_async_task.domain.message import MessageLimits
from grid_async_task.ports import BrokerUnavailable, OutgoingMessage, PublishRefused
from tests.servers.rabbitmq import RabbitServer, new_queue_name
from tests.servers.tcp_proxy import proxy_to, url_through

MakeSource = Callable[..., RabbitMessageSource]

#: the methods of the handshake by which a client gives its login, and asks for its virtual host
START_OK, OPEN = bytes([0, 10, 0, 11]), bytes([0, 10, 0, 40])


@pytest.fixture
def queue() -> str:
    return new_queue_name()


@pytest.fixture
def publisher(rabbitmq: RabbitServer) -> Iterator[RabbitMessagePublisher]:
    publisher = RabbitMessagePublisher(rabbitmq.url)
    yield publisher
    publisher.close()


@pytest.fixture
def make_source(rabbitmq: RabbitServer, queue: str) -> Iterator[MakeSource]:
    made: list[RabbitMessageSource] = []

    def make(url: str = rabbitmq.url, prefetch: int = 1) -> RabbitMessageSource:
        made.append(RabbitMessageSource(url, queue, prefetch=prefetch))
        return made[-1]

    yield make
    for source in made:
        source.close()


def wait_until(condition: Callable[[], bool], timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# -- the source -----------------------------------------------------------------------------------


def test_a_delivery_in_hand_comes_again_after_the_brokers_death_and_its_old_ack_is_harmless(
    rabbitmq: RabbitServer, publisher: RabbitMessagePublisher, make_source: MakeSource, queue: str
) -> None:
    source = make_source(prefetch=2)
    assert publisher.publish_many([OutgoingMessage(queue, b"1"), OutgoingMessage(queue, b"2")]) == [None, None]
    stale = source.next(10)
    assert stale is not None

    rabbitmq.restart()

    again = [source.next(30), source.next(10)]
    assert {delivery.body for delivery in again if delivery} == {b"1", b"2"}
    source.ack(stale)  # has the same tag as one of the two
    source.close()
    wait_until(lambda: publisher.declare(queue).ready == 2)
    source = make_source(prefetch=2)
    for _ in range(2):
        delivery = source.next(10)
        assert delivery is not None
        source.ack(delivery)
    source.close()
    assert publisher.declare(queue).ready == 0


def test_a_dead_letter_whose_connection_was_lost_is_neither_replayed_nor_said_to_be_dropped(
    rabbitmq: RabbitServer, publisher: RabbitMessagePublisher, make_source: MakeSource, queue: str
) -> None:
    dead = f"{queue}{SUFFIX}"
    publisher.declare(dead)
    publisher.publish(OutgoingMessage(dead, b"no task"))
    source = RabbitMessageSource(rabbitmq.url, dead)
    table = MemoryTaskRepository(SystemClock())
    with DeadLetterDesk(source, publisher, lambda: table, queue=queue, limits=MessageLimits()) as desk:
        (letter,) = desk.look(10)
        rabbitmq.run("close_all_connections", "test")
        wait_until(lambda: not source.connected)
        for deed in (desk.replay, desk.drop):
            with pytest.raises(Refused, match="connection to the broker was lost"):
                deed(letter)
    wait_until(lambda: publisher.declare(dead).ready == 1)
    assert publisher.declare(queue).ready == 0


def test_it_takes_no_message_after_a_reconnect_before_it_is_asked_for_one(
    rabbitmq: RabbitServer, publisher: RabbitMessagePublisher, make_source: MakeSource, queue: str
) -> None:
    source = make_source()
    publisher.publish(OutgoingMessage(queue, b"long task"))
    assert source.next(10) is not None
    rabbitmq.restart()
    wait_until(lambda: source.connected)
    wait_until(lambda: publisher.declare(queue).ready == 1)  # it is there for others
    assert make_source().next(10) is not None


def test_a_deleted_queue_is_made_again(
    rabbitmq: RabbitServer, publisher: RabbitMessagePublisher, make_source: MakeSource, queue: str
) -> None:
    source = make_source()
    assert source.next(0.5) is None
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        connection.channel().queue_delete(queue)
    assert source.next(1) is None
    publisher.publish(OutgoingMessage(queue, b"later", delay_s=1))
    delivery = source.next(10)
    assert delivery is not None
    assert delivery.body == b"later"


def test_a_waiting_source_notices_that_its_queue_is_deleted(
    rabbitmq: RabbitServer, publisher: RabbitMessagePublisher, make_source: MakeSource, queue: str
) -> None:
    source = make_source()
    assert source.next(0.5) is None

    def delete_and_send() -> None:
        with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
            connection.channel().queue_delete(queue)
        publisher.publish(OutgoingMessage(queue, b"news"))

    thread = threading.Timer(0.3, delete_and_send)
    thread.start()
    delivery = source.next(15)
    thread.join()
    assert delivery is not None
    assert delivery.body == b"news"


def test_it_waits_for_a_broker_that_comes_later(rabbitmq: RabbitServer, make_source: MakeSource, queue: str) -> None:
    rabbitmq.stop()
    source = make_source()
    before = time.monotonic()
    assert source.next(0.5) is None
    assert time.monotonic() - before < 3
    assert not source.connected
    rabbitmq.start()
    publisher = RabbitMessagePublisher(rabbitmq.url)
    publisher.publish(OutgoingMessage(queue, b"at last"))
    publisher.close()
    delivery = source.next(30)
    assert delivery is not None
    assert delivery.body == b"at last"
    assert source.connected


def test_closing_while_the_broker_is_away_takes_no_time(rabbitmq: RabbitServer, make_source: MakeSource) -> None:
    source = make_source()
    source.next(1)
    rabbitmq.stop()
    try:
        wait_until(lambda: not source.connected)
        before = time.monotonic()
        source.pause()
        source.close()
        assert time.monotonic() - before < 3
        assert source.next(5) is None
    finally:
        rabbitmq.start()


def test_a_pause_ends_a_wait(make_source: MakeSource) -> None:
    source = make_source()
    source.next(0.5)
    threading.Timer(0.3, source.pause).start()
    before = time.monotonic()
    assert source.next(60) is None
    assert time.monotonic() - before < 10


def test_a_queue_with_arguments_of_its_own_is_taken_as_it_is(
    rabbitmq: RabbitServer, publisher: RabbitMessagePublisher, make_source: MakeSource, queue: str
) -> None:
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        connection.channel().queue_declare(queue, durable=True, arguments={"x-max-priority": 5})
    publisher.publish(OutgoingMessage(queue, b"x", properties={"priority": 3}, delay_s=1))
    delivery = make_source().next(10)
    assert delivery is not None
    assert delivery.properties["priority"] == 3


@pytest.mark.parametrize(
    ("user", "virtual_host"),
    [("guest:wr0ng-secret", ""), ("nobody:wr0ng-secret", ""), ("guest:guest", "no-such-vhost")],
)
def test_a_refused_login_is_a_configuration_error_without_the_password(
    rabbitmq: RabbitServer, user: str, virtual_host: str
) -> None:
    url = rabbitmq.url.replace("guest:guest", user) + virtual_host
    source = RabbitMessageSource(url, "q")
    publisher = RabbitMessagePublisher(url)
    for attempt in (
        lambda: source.next(20),
        lambda: source.next(20),
        lambda: publisher.publish(OutgoingMessage("q", b"x")),
    ):
        with pytest.raises(ConfigurationError) as caught:
            attempt()
        assert "wr0ng-secret" not in str(caught.value)
        assert user.split(":")[0] in str(caught.value)
    source.close()
    publisher.close()


@pytest.mark.parametrize("step", [START_OK, OPEN])
def test_a_connection_that_breaks_in_its_handshake_is_no_refused_login(
    rabbitmq: RabbitServer, publisher: RabbitMessagePublisher, make_source: MakeSource, queue: str, step: bytes
) -> None:
    publisher.publish(OutgoingMessage(queue, b"x"))
    with proxy_to(rabbitmq.url) as proxy:
        proxy.on_client_bytes(step, proxy.cut)
        source = make_source(url_through(proxy, rabbitmq.url))
        assert source.next(10) is not None


def test_a_url_that_is_none_is_a_configuration_error_without_the_password() -> None:
    with pytest.raises(ConfigurationError, match="AMQP_URL") as caught:
        RabbitMessageSource("amqp://me:s3cret@host:not-a-port/", "q")
    assert "s3cret" not in str(caught.value)


def test_missing_rights_are_a_configuration_error_that_says_what_to_grant(rabbitmq: RabbitServer, queue: str) -> None:
    name = "reader" + queue.replace("-", "")
    rabbitmq.run("add_user", name, "pw")
    rabbitmq.run("set_permissions", name, "^$", "^$", ".*")
    url = rabbitmq.url.replace("guest:guest", f"{name}:pw")
    source = RabbitMessageSource(url, queue)
    with pytest.raises(ConfigurationError, match="set_permissions"):
        source.next(20)
    source.close()
    publisher = RabbitMessagePublisher(url)
    with pytest.raises(PublishRefused, match="ACCESS_REFUSED"):
        publisher.publish(OutgoingMessage(queue, b"x"))
    publisher.close()


def test_a_message_that_is_held_beyond_the_brokers_ack_timeout_comes_again(
    rabbitmq: RabbitServer,
    publisher: RabbitMessagePublisher,
    make_source: MakeSource,
    queue: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def set_timeouts(consumer_timeout_ms: int, tick_ms: int) -> None:
        rabbitmq.run("eval", f"application:set_env(rabbit, consumer_timeout, {consumer_timeout_ms}).")
        rabbitmq.run("eval", f"application:set_env(rabbit, channel_tick_interval, {tick_ms}).")

    # older brokers go by their setting, newer ones by what the consumer asks for
    set_timeouts(1000, 500)
    monkeypatch.setattr(consumer, "CONSUMER_TIMEOUT_MS", 1000)
    try:
        source = make_source()
        publisher.publish(OutgoingMessage(queue, b"slow"))
        held = source.next(10)
        assert held is not None
        again = source.next(20)
        assert again is not None
        assert again.body == b"slow"
        source.ack(held)
        source.ack(again)
        source.close()
        assert publisher.declare(queue).ready == 0
    finally:
        set_timeouts(1_800_000, 60_000)


def test_under_a_memory_alarm_acknowledgements_go_through_and_publishes_are_reported(
    rabbitmq: RabbitServer, publisher: RabbitMessagePublisher, make_source: MakeSource, queue: str
) -> None:
    source = make_source(prefetch=2)
    publisher.publish_many([OutgoingMessage(queue, b"1"), OutgoingMessage(queue, b"2")])
    in_hand = [source.next(10), source.next(10)]
    impatient = RabbitMessagePublisher(rabbitmq.url, timeout_s=1.5)
    impatient.declare(queue)
    rabbitmq.run("set_vm_memory_high_watermark", "absolute", "1")
    try:
        with pytest.raises(BrokerUnavailable) as caught:
            impatient.publish(OutgoingMessage(queue, b"3"))
        assert caught.value.maybe_sent
        assert in_hand[0] is not None
        source.ack(in_hand[0])
        before = time.monotonic()
        source.close()
        assert time.monotonic() - before < 4
    finally:
        rabbitmq.run("set_vm_memory_high_watermark", "0.4")
    source = make_source(prefetch=3)
    left = {delivery.body for delivery in (source.next(10), source.next(10)) if delivery}
    assert left == {b"2", b"3"}, "1 was acknowledged; 3 was sent after all, as maybe_sent says"
    impatient.close()


def test_a_broker_that_hangs_holds_nobody_up_for_ever(
    rabbitmq: RabbitServer, make_source: MakeSource, queue: str
) -> None:
    source = make_source()
    publisher = RabbitMessagePublisher(rabbitmq.url, timeout_s=4.0)
    publisher.publish(OutgoingMessage(queue, b"x"))
    assert source.next(10) is not None
    rabbitmq.freeze()
    calls: list[tuple[Callable[[], object], float]] = [
        (lambda: publisher.publish_many([OutgoingMessage(queue, b"y")]), 4 + 2),
        (lambda: source.next(0.5), 3),
        (source.pause, 8),
        (source.close, 8),
        (publisher.close, 8),
    ]
    try:
        for call, limit_s in calls:
            before = time.monotonic()
            call()
            assert time.monotonic() - before < limit_s
    finally:
        rabbitmq.thaw()


# -- the publisher --------------------------------------------------------------------------------


def test_publishing_goes_on_after_the_brokers_restart(
    rabbitmq: RabbitServer, publisher: RabbitMessagePublisher, queue: str
) -> None:
    publisher.publish(OutgoingMessage(queue, b"before"))
    publisher.publish(OutgoingMessage(queue, b"before, delayed", delay_s=1))
    rabbitmq.restart()
    publisher.publish(OutgoingMessage(queue, b"after"))
    publisher.publish(OutgoingMessage(queue, b"after, delayed", delay_s=1))
    wait_until(lambda: publisher.declare(queue).ready == 4)


def test_a_publish_waits_for_the_broker_to_come_back(rabbitmq: RabbitServer, queue: str) -> None:
    publisher = RabbitMessagePublisher(rabbitmq.url, timeout_s=100)
    publisher.declare(queue)
    rabbitmq.stop()
    starting = threading.Thread(target=rabbitmq.start)
    starting.start()
    publisher.publish(OutgoingMessage(queue, b"x"))
    starting.join()
    assert publisher.declare(queue).ready == 1
    publisher.close()


def test_without_a_broker_it_says_in_time_that_nothing_was_sent(rabbitmq: RabbitServer, queue: str) -> None:
    rabbitmq.stop()
    publisher = RabbitMessagePublisher(rabbitmq.url, timeout_s=1.0)
    before = time.monotonic()
    with pytest.raises(BrokerUnavailable) as caught:
        publisher.publish(OutgoingMessage(queue, b"x"))
    assert not caught.value.maybe_sent
    assert 0.9 < time.monotonic() - before < 5
    publisher.close()
    rabbitmq.start()


def test_every_message_of_a_broken_stream_of_publishes_is_there_or_reported(
    rabbitmq: RabbitServer, publisher: RabbitMessagePublisher, queue: str
) -> None:
    publisher.declare(queue)
    confirmed: set[bytes] = set()
    unsure: set[bytes] = set()
    stop = threading.Event()

    def publish_until_stopped() -> None:
        number = 0
        while not stop.is_set():
            bodies = [b"%d" % (number + n) for n in range(PIECE + 50)]
            number += len(bodies)
            outcomes = publisher.publish_many([OutgoingMessage(queue, body) for body in bodies])
            for body, outcome in zip(bodies, outcomes, strict=True):
                (confirmed if outcome is None else unsure).add(body)
                assert outcome is None or isinstance(outcome, BrokerUnavailable)

    thread = threading.Thread(target=publish_until_stopped)
    thread.start()
    wait_until(lambda: len(confirmed) > 500)
    rabbitmq.restart()
    so_far = len(confirmed)
    wait_until(lambda: len(confirmed) > so_far + 500)
    stop.set()
    thread.join()
    there = set()
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        channel = connection.channel()
        while (got := channel.basic_get(queue, auto_ack=True))[0] is not None:
            there.add(got[2])
    assert confirmed <= there
    assert there <= confirmed | unsure


def test_a_batch_that_is_cut_in_the_middle_says_of_each_message_whether_it_is_safe(
    rabbitmq: RabbitServer, publisher: RabbitMessagePublisher, queue: str
) -> None:
    publisher.declare(queue)
    bodies = [b"number %d;" % number + 20_000 * b"x" for number in range(5 * PIECE)]
    with proxy_to(rabbitmq.url) as proxy:
        cut_off = RabbitMessagePublisher(url_through(proxy, rabbitmq.url))
        cut_off.declare(queue)
        proxy.on_client_bytes(b"number %d;" % (PIECE + 1), proxy.cut)
        outcomes = cut_off.publish_many([OutgoingMessage(queue, body) for body in bodies])
        cut_off.close()
    confirmed = {body for body, outcome in zip(bodies, outcomes, strict=True) if outcome is None}
    unsure = [outcome for outcome in outcomes if outcome is not None]
    assert unsure
    assert all(isinstance(outcome, BrokerUnavailable) and outcome.maybe_sent for outcome in unsure)
    assert not any("did not confirm" in str(outcome) for outcome in unsure), "the cut settles them, and not the time"
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        channel = connection.channel()
        there = {channel.basic_get(queue, auto_ack=True)[2] for _ in range(rabbitmq.messages(queue))}
    assert confirmed <= there <= set(bodies)


def test_of_a_batch_whose_channel_goes_between_two_pieces_the_rest_is_known_to_be_unwritten(
    rabbitmq: RabbitServer, publisher: RabbitMessagePublisher, queue: str
) -> None:
    publisher.declare(queue)
    connection = Connection(rabbitmq.url, "test")
    assert connection.wait_connected(10)
    confirms = ConfirmChannel.open(connection)
    post = Post([OutgoingMessage(queue, b"x")] * (3 * PIECE))

    def send_and_close() -> None:
        confirms.send(post)  # its first piece comes before the close, its second after it
        connection.post(confirms._channel.close)

    connection.post(send_and_close)
    outcomes = post.wait(30)
    connection.close()
    assert all(outcome is None or isinstance(outcome, BrokerUnavailable) for outcome in outcomes[:PIECE])
    assert all(isinstance(outcome, NotWritten) for outcome in outcomes[PIECE:])
    assert not any("did not confirm" in str(outcome) for outcome in outcomes), "the channel's end settles them"


def test_whatever_keeps_a_message_from_being_encoded_the_others_are_sent(
    publisher: RabbitMessagePublisher, queue: str
) -> None:
    deep: dict[str, Any] = {}
    for _ in range(sys.getrecursionlimit()):
        deep = {"x": deep}
    good = OutgoingMessage(queue, b"good")
    outcomes = publisher.publish_many([good, OutgoingMessage(queue, b"bad", headers={"deep": deep}), good])
    assert [type(outcome) for outcome in outcomes] == [type(None), PublishRefused, type(None)]


def test_a_missing_exchange_is_refused_and_the_rest_is_not_harmed(
    publisher: RabbitMessagePublisher, queue: str
) -> None:
    wrong = OutgoingMessage(queue, b"x", exchange="no-such-exchange")
    with pytest.raises(PublishRefused, match="no-such-exchange"):
        publisher.publish(wrong)
    assert all(isinstance(outcome, PublishRefused) for outcome in publisher.publish_many([wrong] * 3))
    publisher.publish(OutgoingMessage(queue, b"x"))


def test_an_exchange_without_a_binding_is_refused_and_with_one_it_leads_to_the_queue(
    rabbitmq: RabbitServer, publisher: RabbitMessagePublisher, queue: str
) -> None:
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        channel = connection.channel()
        channel.exchange_declare(queue, exchange_type="direct")
        with pytest.raises(PublishRefused, match="leads to no queue"):
            publisher.publish(OutgoingMessage(queue, b"x", exchange=queue))
        publisher.declare(queue)
        channel.queue_bind(queue, queue, queue)
        publisher.publish(OutgoingMessage(queue, b"x", exchange=queue))
        assert publisher.declare(queue).ready == 1
        channel.exchange_delete(queue)


def test_a_full_queue_refuses_what_it_does_not_take_and_says_which(
    rabbitmq: RabbitServer, publisher: RabbitMessagePublisher, queue: str
) -> None:
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        arguments = {"x-max-length": 2, "x-overflow": "reject-publish"}
        connection.channel().queue_declare(queue, durable=True, arguments=arguments)
    other = new_queue_name()
    messages = [OutgoingMessage(name, b"x") for name in (queue, other, queue, queue, other)]
    outcomes = publisher.publish_many(messages)
    assert [type(outcome) for outcome in outcomes] == [type(None)] * 3 + [PublishRefused, type(None)]


def test_what_can_not_be_encoded_is_refused_or_sent_as_text(publisher: RabbitMessagePublisher, queue: str) -> None:
    headers = {"float": 1.5, "huge": 2**80, "list": [1.5, (2,)], "table": {"x": object}, "CC": ["elsewhere"]}
    publisher.publish(OutgoingMessage(queue, b"x", headers=headers, properties={"expiration": "1", "user_id": "root"}))
    assert publisher.declare(queue).ready == 1
    with pytest.raises(PublishRefused):
        publisher.publish(OutgoingMessage("q" * 300, b"x"))
    with pytest.raises(PublishRefused):
        publisher.publish(OutgoingMessage(queue, b"x", headers={"half": "\ud800"}))
    with pytest.raises(PublishRefused):
        publisher.publish(OutgoingMessage(queue, b"x", properties={"priority": "high"}))
    publisher.publish(OutgoingMessage(queue, b"y"))
    assert publisher.declare(queue).ready == 2
