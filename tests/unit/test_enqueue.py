"""Tasks enqueued in an application's own transaction: no task without its commit, no commit without its task.

The database is a real file, so that transactions are real; the broker is in memory. Every call of a port and every
step of the application is a place at which its process dies, before it or after it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Connection, Engine, Integer, MetaData, Table, create_engine, func, insert, select
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from grid_async_task import ConfigurationError, GridAsyncTaskError, TaskHandler, TaskStatus, ValidationError
from grid_async_task.adapters.memory import MemoryTaskRepository
from grid_async_task.adapters.sql import SqlTaskRepository, db_time
from grid_async_task.application import relay as relaying
from grid_async_task.application.client import Client
from grid_async_task.application.due_time import DUE_HEADER
from grid_async_task.application.producer import Producer
from grid_async_task.application.relay import Relay
from grid_async_task.domain.message import TaskMessage, Ticket
from grid_async_task.ports import BrokerUnavailable, Clock, OutgoingMessage, PublishRefused
from tests.unit.world import QUEUE, Crash, Stepped, Steps, World
from tests.waiting import eventually

HOUR_S = 3600.0

orders = Table("orders", MetaData(), Column("id", Integer, primary_key=True))


class RelayByHand(Relay):
    """Notes whom it was told of; the test says when it works."""

    told: dict[str, OutgoingMessage]

    def committing(self, task_id: str, asked: OutgoingMessage) -> None:
        self.told[task_id] = asked

    def work(self) -> list[tuple[str, bool]]:
        return [(task_id, self.publish_owed(task_id, asked)) for task_id, asked in self.told.items()]


@dataclass
class Site:
    directory: Path
    ran: list[str] = field(default_factory=list)
    #: when each run began
    began: list[datetime] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.url = f"sqlite:///{self.directory / 'application.db'}"
        self.engine: Engine = create_engine(self.url, connect_args={"timeout": 10})
        orders.metadata.create_all(self.engine)
        self.table = SqlTaskRepository(self.url)
        self.table.prepare()
        self.world = World()
        self.world.table = self.table  # type: ignore[assignment]

    def close(self) -> None:
        self.table.close()
        self.engine.dispose()

    def producer(self, steps: Steps, relay: bool = True) -> Producer:
        table: Any = Stepped(self.table, "repository", steps)
        publisher: Any = Stepped(self.world.broker.publisher(), "publisher", steps)
        by_hand = RelayByHand(table, publisher)
        by_hand.told = {}
        return Producer(
            publisher,
            table,
            default_queue=QUEUE,
            message_max_bytes=10_000,
            relay=by_hand if relay else None,
            now=self.world.clock.now,
        )

    @property
    def number_of_orders(self) -> int:
        with self.engine.connect() as connection:
            return connection.execute(select(func.count()).select_from(orders)).scalar_one()

    def application(self, steps: Steps, commits: bool = True, delay_s: float | None = None) -> None:
        """An order and its task, together or not at all."""
        producer = self.producer(steps)
        with self.engine.connect() as connection:
            steps.call("order", lambda: connection.execute(insert(orders).values(id=1)))
            producer.enqueue(connection, {"task_id": "t", "data": {"order": 1}}, delay=delay_s)
            steps.call("end", connection.commit if commits else connection.rollback)
        relay_of(producer).work()

    def handler(self) -> TaskHandler:
        site = self

        class Noting(TaskHandler):
            def execute(self, task_data: dict[str, Any]) -> Any:
                site.ran.append(str(self.task_id))
                site.began.append(site.world.clock.now())

        return Noting()

    def sweep(self) -> int:
        return self.world.container(self.handler(), Steps()).sweep().sweep()

    def later(self) -> None:
        """What others do afterwards: the sweep, whose command needs no worker, and workers while there are messages."""
        self.sweep()
        self.world.until_quiet(self.handler)

    @property
    def owed(self) -> list[str]:
        return [task.id for task in self.table.overdue(QUEUE, lost_after_s=0, limit=10)]


def relay_of(producer: Producer) -> RelayByHand:
    relay = producer._relay
    assert isinstance(relay, RelayByHand)
    return relay


def one_clock(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    """The database goes by the clock of the test."""

    class ByThatClock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return clock.now()

    monkeypatch.setattr(db_time, "datetime", ByThatClock)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.close()


@pytest.mark.parametrize("commits", [True, False])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("delay_s", [0.0, HOUR_S])
def test_the_application_may_die_at_any_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commits: bool, after: bool, delay_s: float
) -> None:
    number = 0
    while True:
        (tmp_path / str(number)).mkdir()
        site, steps = Site(tmp_path / str(number)), Steps(number, after)
        one_clock(monkeypatch, site.world.clock)
        due = site.world.clock.now() + timedelta(seconds=delay_s)
        with contextlib.suppress(Crash):
            site.application(steps, commits, delay_s)
        if delay_s:
            site.world.clock.advance(delay_s - 1)
            assert (site.sweep(), site.world.broker.ready(QUEUE)) == (0, 0), "before its time"
            site.world.clock.advance(1)
        messages = [message.body for message in site.world.broker.waiting_for(QUEUE)]
        assert bool(site.owed or messages) == (site.number_of_orders == 1), "a commit without its task, or the reverse"
        assert steps.dead or not site.owed, "published and not marked"
        site.later()
        assert site.ran == ["t"] * site.number_of_orders, steps.log
        assert site.began == [due] * site.number_of_orders, steps.log
        assert site.number_of_orders in ((0, 1) if steps.dead else (commits,))
        site.close()
        if not steps.dead:
            break
        number += 1
    assert number == (6 if commits else 3), steps.log


@pytest.mark.parametrize("after", [False, True])
def test_a_sweep_that_dies_leaves_it_to_the_next(tmp_path: Path, after: bool) -> None:
    for number in range(10):
        (tmp_path / str(number)).mkdir()
        site, steps = Site(tmp_path / str(number)), Steps(number, after)
        with site.engine.begin() as connection:
            site.producer(Steps()).enqueue(connection, {"task_id": "t"})
        with contextlib.suppress(Crash):
            site.world.container(site.handler(), steps).sweep().sweep()
        reading = site.table.read("t")
        assert reading is not None
        has_message = bool(site.world.broker.waiting_for(QUEUE))
        assert has_message or reading.task.wake_at is not None
        site.close()
        if not steps.dead:
            break
    assert number >= 4, steps.log


def test_a_savepoint_that_is_rolled_back_takes_its_task_along(site: Site) -> None:
    producer = site.producer(Steps())
    with Session(site.engine) as session:
        producer.enqueue(session, {"task_id": "kept"})
        with session.begin_nested() as savepoint:
            producer.enqueue(session, {"task_id": "dropped"})
            savepoint.rollback()
        session.commit()
    assert relay_of(producer).work() == [("kept", True)]
    site.later()
    assert site.ran == ["kept"]


def test_what_a_savepoint_took_back_is_not_told_at_the_commit(site: Site) -> None:
    told: list[str] = []

    class Undone(Exception):
        pass

    def owe(connection: Connection, task_id: str) -> None:
        site.table.insert_owed(TaskMessage(task_id), QUEUE, 0, connection, lambda: told.append(task_id))

    with site.engine.begin() as connection:
        owe(connection, "a")
        with contextlib.suppress(Undone), connection.begin_nested():
            owe(connection, "b")
            with connection.begin_nested():
                owe(connection, "c")
            raise Undone
        with connection.begin_nested():
            owe(connection, "d")
        owe(connection, "e")
    with site.engine.begin() as connection:
        with contextlib.suppress(Undone), connection.begin_nested():
            owe(connection, "f")
            raise Undone
        owe(connection, "g")
    assert told == ["a", "d", "e", "g"]


def test_what_was_rolled_back_is_not_told_at_the_next_commit(site: Site) -> None:
    producer = site.producer(Steps())
    with site.engine.connect() as connection:
        for task_id, end in (("a", connection.rollback), ("b", connection.commit), ("c", connection.commit)):
            producer.enqueue(connection, {"task_id": task_id})
            end()
    assert list(relay_of(producer).told) == ["b", "c"]


def with_connection(site: Site, enqueue: Callable[[Any], object]) -> None:
    with site.engine.begin() as connection:
        enqueue(connection)


def with_session(site: Site, enqueue: Callable[[Any], object]) -> None:
    with Session(site.engine) as session, session.begin():
        enqueue(session)


def with_scoped_session(site: Site, enqueue: Callable[[Any], object]) -> None:
    session = scoped_session(sessionmaker(site.engine))
    enqueue(session)
    session.commit()
    session.remove()


@pytest.fixture
def slow_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk may take seconds for one."""
    monkeypatch.setattr(relaying, "LOOKS_S", (*relaying.LOOKS_S, 4.0))


@pytest.mark.usefixtures("slow_commits")
@pytest.mark.parametrize("within", [with_connection, with_session, with_scoped_session])
def test_the_message_is_published_right_after_the_commit(site: Site, within: Any) -> None:
    with site.producer(Steps(), relay=False) as producer:
        within(site, lambda transaction: producer.enqueue(transaction, {"task_type": "pdf"}, "t", priority=7))
        (message,) = eventually(lambda: site.world.broker.waiting_for(QUEUE))
        assert message.properties == {"content_type": "application/json", "message_id": "t", "priority": 7}
        eventually(lambda: site.table.read("t").task.wake_at is None)  # type: ignore[union-attr]
    site.world.until_quiet(site.handler)
    assert site.ran == ["t"]


@pytest.mark.usefixtures("slow_commits")
def test_closing_publishes_what_is_committed(site: Site) -> None:
    with site.producer(Steps(), relay=False) as producer, site.engine.begin() as connection:
        for number in range(20):
            producer.enqueue(connection, {"task_id": f"t{number}"})
    # the transaction ends before the producer is closed
    assert len(site.world.broker.waiting_for(QUEUE)) == 20
    with pytest.raises(GridAsyncTaskError, match="closed"), site.engine.begin() as connection:
        producer.enqueue(connection, {})


def test_a_message_that_is_refused_keeps_none_of_the_others_from_being_published(site: Site) -> None:
    published = site.world.broker.publisher()

    class Choosy:
        def publish(self, message: OutgoingMessage) -> None:
            if message.queue == "full":
                raise PublishRefused("full")
            published.publish(message)

        def close(self) -> None:
            return None

    choosy: Any = Choosy()
    producer = Producer(choosy, site.table, default_queue=QUEUE, message_max_bytes=10_000)
    with producer, site.engine.begin() as connection:
        producer.enqueue(connection, {"task_id": "refused"}, queue_name="full")
        for number in range(3):
            producer.enqueue(connection, {"task_id": f"t{number}"})
    assert len(site.world.broker.waiting_for(QUEUE)) == 3


def test_a_commit_does_not_fail_where_no_thread_can_be_started(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with site.producer(Steps(), relay=False) as producer, monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fail)
        with site.engine.begin() as connection:
            producer.enqueue(connection, {"task_id": "t"})
    site.later()
    assert site.ran == ["t"]


def test_a_commit_does_not_wait_for_a_broker_that_is_away(site: Site) -> None:
    answers = threading.Event()

    class Away:
        def publish(self, message: OutgoingMessage) -> None:
            answers.wait(30)
            raise BrokerUnavailable("away")

        def close(self) -> None:
            return None

    away: Any = Away()
    producer = Producer(away, site.table, default_queue=QUEUE, message_max_bytes=10_000)
    for task_id in ("t", "u"):
        with site.engine.begin() as connection:
            producer.enqueue(connection, {"task_id": task_id})
    answers.set()
    producer.close()
    site.later()
    assert sorted(site.ran) == ["t", "u"]


@pytest.mark.parametrize("how", ["delay", "at"])
def test_the_message_waits_for_the_rest_of_the_delay(site: Site, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    clock, broker = site.world.clock, site.world.broker
    one_clock(monkeypatch, clock)
    due = clock.now() + timedelta(seconds=HOUR_S)
    producer = site.producer(Steps())
    with site.engine.begin() as connection:
        when: dict[str, Any] = {"delay": HOUR_S} if how == "delay" else {"at": due.replace(tzinfo=None)}
        producer.enqueue(connection, {"task_id": "t"}, **when, priority=7)
        clock.advance(600)  # the transaction takes its time
    relay_of(producer).work()
    (message,) = broker.waiting_for(QUEUE)
    assert broker.seconds_to_next() == HOUR_S - 600
    assert message.headers == {DUE_HEADER: due.strftime("%Y-%m-%dT%H:%M:%SZ")}
    assert message.properties["priority"] == 7
    task = site.world.row("t")
    assert (task.status, task.wake_at) == (TaskStatus.PENDING, due)
    site.world.until_quiet(site.handler)
    assert site.began == [due]


def test_a_message_lost_in_the_delay_queues_is_swept_up_after_its_time(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_clock(monkeypatch, site.world.clock)
    site.application(Steps(), delay_s=HOUR_S)
    site.world.broker.delayed.clear()
    site.world.clock.advance(HOUR_S + 899)
    assert site.sweep() == 0
    site.world.clock.advance(2)
    assert site.sweep() == 1
    site.world.until_quiet(site.handler)
    assert site.ran == ["t"]


@pytest.mark.parametrize("published", [True, False])
def test_a_message_that_comes_before_its_time_is_parked(
    site: Site, monkeypatch: pytest.MonkeyPatch, published: bool
) -> None:
    """As another one of the same id would, whether or not the own one is published."""
    one_clock(monkeypatch, site.world.clock)
    due = site.world.clock.now() + timedelta(seconds=HOUR_S)
    steps = Steps(None if published else 3)
    with contextlib.suppress(Crash):
        site.application(steps, delay_s=HOUR_S)
    assert bool(site.world.broker.delayed) == published, steps.log
    for body in (b'{"task_id": "t"}', Ticket("t").to_body()):
        site.world.send(body)
        site.world.work(site.handler())
        assert (site.ran, site.world.broker.ready(QUEUE)) == ([], 0)
    site.world.until_quiet(site.handler)
    assert site.began == [due]


@pytest.mark.parametrize("meanwhile", ["claimed", "cancelled", "retried"])
def test_a_task_that_moves_on_while_its_message_is_published_is_left_alone(
    site: Site, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    one_clock(monkeypatch, site.world.clock)

    def move_on() -> None:
        if meanwhile == "claimed":
            row = site.world.row("t")
            assert site.table.claim(row, owner="w", lease_s=60, max_retry_count=0, crashed=False) is not None
        else:
            assert Client(site.table, site.world.broker.publisher).cancel_task("t")
        if meanwhile == "retried":
            assert site.table.retry_failed(site.world.row("t"))

    class Slow:
        def publish(self, message: OutgoingMessage) -> None:
            site.world.broker.put(message)
            move_on()

    slow: Any = Slow()
    callback = {"callback_url": "http://x.example/"} if meanwhile == "cancelled" else {}
    producer = site.producer(Steps())
    with site.engine.begin() as connection:
        producer.enqueue(connection, {"task_id": "t", **callback}, delay=HOUR_S)
    relay = Relay(site.table, slow)
    assert relay.publish_owed("t", relay_of(producer).told["t"])
    site.world.clock.advance(61)
    assert site.owed == ["t"], "whoever looks after the task as it is now would come late"


def test_what_the_sweep_publishes_has_no_priority(site: Site) -> None:
    with site.engine.begin() as connection:
        site.producer(Steps()).enqueue(connection, {"task_id": "t"}, priority=7)
    assert site.sweep() == 1
    (message,) = site.world.broker.waiting_for(QUEUE)
    assert "priority" not in message.properties


def test_a_task_that_exists_is_left_as_it_is(site: Site) -> None:
    producer = site.producer(Steps())
    site.world.send(b'{"task_id": "t", "data": {"first": true}}')
    site.world.until_quiet(site.handler)
    with site.engine.begin() as connection:
        producer.enqueue(connection, {"task_id": "t", "data": {"first": False}})
    reading = site.table.read("t")
    assert reading is not None
    assert (reading.task.status, reading.task.data) == (TaskStatus.SUCCESS, {"first": True})
    site.later()
    assert site.ran == ["t"]


def test_what_waits_for_its_commit_keeps_no_body_in_memory(site: Site) -> None:
    producer = site.producer(Steps())
    with site.engine.begin() as connection:
        producer.enqueue(connection, {"task_id": "t", "data": {"large": "x" * 5000}}, priority=7)
    (asked,) = relay_of(producer).told.values()
    assert (asked.body, asked.properties["priority"]) == (b"", 7)
    relay_of(producer).work()
    (message,) = site.world.broker.waiting_for(QUEUE)
    assert len(message.body) > 5000


def test_a_task_that_exists_keeps_its_time_too(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    one_clock(monkeypatch, site.world.clock)
    with site.engine.begin() as connection:
        site.producer(Steps()).enqueue(connection, {"task_id": "t"})  # and dies before it publishes
    again = site.producer(Steps())
    with site.engine.begin() as connection:
        again.enqueue(connection, {"task_id": "t"}, delay=HOUR_S)
    now = site.world.clock.now()
    relay_of(again).work()
    site.world.until_quiet(site.handler)
    assert site.began == [now]


def test_a_database_without_our_table_is_refused(site: Site, tmp_path: Path) -> None:
    other = create_engine(f"sqlite:///{tmp_path / 'other.db'}")
    with other.begin() as connection, pytest.raises(ConfigurationError, match=r"other\.db, MYSQL_URL leads to"):
        site.producer(Steps()).enqueue(connection, {"task_id": "t"})
    other.dispose()
    bare = SqlTaskRepository(f"sqlite:///{tmp_path / 'application.db'}", table="of_somebody_else")
    producer = Producer(site.world.broker.publisher(), bare, default_queue=QUEUE, message_max_bytes=10_000)
    with (
        site.engine.begin() as connection,
        pytest.raises(ConfigurationError, match="has none: grid-async-task migrate"),
    ):
        producer.enqueue(connection, {"task_id": "t"})
    bare.close()


def test_what_it_can_not_be_done_with(site: Site) -> None:
    producer = site.producer(Steps())
    for wrong in (site.engine, "a url", None):
        with pytest.raises(ConfigurationError, match="run_sync"):
            producer.enqueue(wrong, {"task_id": "t"})
    with site.engine.begin() as connection:
        with pytest.raises(ValidationError):
            producer.enqueue(connection, {"task_id": " "})
        wrong_options: tuple[dict[str, Any], ...] = (
            {"delay": -1},
            {"at": "tomorrow"},
            {"delay": 1, "at": site.world.clock.now()},
            {"priority": 256},
        )
        for options in wrong_options:
            with pytest.raises(ValidationError, match=r"delay|at must|priority"):
                producer.enqueue(connection, {"task_id": "t"}, **options)
        publisher = site.world.broker.publisher()
        for table, said in (
            (None, "record_pending=True"),
            (MemoryTaskRepository(site.world.clock), "takes part in no"),
        ):
            unfit = Producer(publisher, table, default_queue=QUEUE, message_max_bytes=10_000)
            with pytest.raises(ConfigurationError, match=said):
                unfit.enqueue(connection, {"task_id": "t"})
    assert site.table.read("t") is None
