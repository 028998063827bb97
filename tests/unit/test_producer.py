"""The producer with everything in memory: what it sends, and what it refuses to send (SPEC section 10)."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from grid_async_task import BatchError, ConnectionError, GridAsyncTaskError, Settings, TaskProducer, ValidationError
from grid_async_task.adapters.memory import MemoryBroker, MemoryMessagePublisher, MemoryTaskRepository
from grid_async_task.adapters.process.clock import SystemClock
from grid_async_task.application.preparation import MAX_WORK_QUEUE_BYTES
from grid_async_task.application.producer import Producer
from grid_async_task.application.records import DATABASE_PAUSE_S
from grid_async_task.domain.failure import CANCELLED
from grid_async_task.ports import (
    BrokerUnavailable,
    OutgoingMessage,
    PublishRefused,
    QueueState,
    Reading,
    RepositoryUnavailable,
    TaskFilter,
)


class Broker(MemoryMessagePublisher):
    """Counts its calls, and refuses what the test wants refused."""

    def __init__(self, broker: MemoryBroker) -> None:
        super().__init__(broker)
        self.declared: list[str] = []
        self.publishes: list[int] = []
        self.closed = 0
        self.no_queue: dict[str, Exception] = {}
        self.refused: dict[str, Exception] = {}

    def declare(self, queue: str) -> QueueState:
        if queue in self.no_queue:
            raise self.no_queue[queue]
        self.declared.append(queue)
        return super().declare(queue)

    def publish_many(self, messages: Sequence[OutgoingMessage]) -> list[Exception | None]:
        self.publishes.append(len(messages))
        errors = [self.refused.get(str(message.properties["message_id"])) for message in messages]
        super().publish_many([message for message, error in zip(messages, errors, strict=True) if error is None])
        return errors

    def close(self) -> None:
        self.closed += 1


class Table(MemoryTaskRepository):
    """May be away, and counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__(SystemClock())
        self.away: list[Exception] = []
        self.asked = 0
        self.closed = 0

    def prepare(self) -> None:
        self._ask()

    def read(self, task_id: str) -> Reading | None:
        self._ask()
        return super().read(task_id)

    def record_pending(self, messages: Any, queues: Any) -> None:
        self._ask()
        super().record_pending(messages, queues)

    def close(self) -> None:
        self.closed += 1

    def _ask(self) -> None:
        self.asked += 1
        if self.away:
            raise self.away.pop(0)

    @property
    def ids(self) -> set[str]:
        return {task.id for task in self.list_tasks(TaskFilter(), 10_000)}


@dataclass
class Site:
    memory: MemoryBroker = field(default_factory=lambda: MemoryBroker(SystemClock()))
    table: Table = field(default_factory=Table)
    now: float = 0.0

    def __post_init__(self) -> None:
        self.broker = Broker(self.memory)
        self.producer = TaskProducer(
            "q", settings=Settings(message_max_bytes=2000), publisher=self.broker, repository=self.table
        )

    def timed(self) -> Producer:
        """One whose clock is the test's."""
        return Producer(self.broker, self.table, default_queue="q", message_max_bytes=2000, monotonic=lambda: self.now)

    def sent(self, queue: str = "q") -> list[dict[str, Any]]:
        return [json.loads(message.body) for message in self.memory.queues[queue]]


@pytest.fixture
def site() -> Site:
    return Site()


# -- the id ---------------------------------------------------------------------------------------------


def test_the_argument_is_the_id_before_the_one_in_the_data(site: Site) -> None:
    assert site.producer.send_task({"task_id": "inner"}, task_id="outer") == "outer"
    assert site.sent() == [{"task_id": "outer"}]


def test_the_id_in_the_data_counts(site: Site) -> None:
    assert site.producer.send_task({"task_id": "inner", "data": {}}) == "inner"


@pytest.mark.parametrize("data", [{}, {"task_id": None}])
def test_without_an_id_it_is_a_new_uuid(site: Site, data: dict[str, Any]) -> None:
    first, second = site.producer.send_task(data), site.producer.send_task(data)
    assert first == str(uuid.UUID(first))
    assert first != second
    assert [message["task_id"] for message in site.sent()] == [first, second]


def test_what_was_given_is_not_changed(site: Site) -> None:
    data = {"data": {"a": 1}}
    site.producer.send_task(data)
    assert data == {"data": {"a": 1}}


def test_the_message_says_what_it_is_by_its_properties(site: Site) -> None:
    site.producer.send_task({"task_id": "t"})
    (message,) = site.memory.queues["q"]
    assert dict(message.properties) == {"content_type": "application/json", "message_id": "t"}


@pytest.mark.parametrize(
    "message",
    [
        {"task_id": "t"},
        {"task_id": "t", "data": {}},
        {"task_id": "t", "retry_count": 3, "unknown": [1, {"a": None}]},
        {"task_id": "任务", "data": {"文": "字"}, "callback_url": "http://h/", "callback_data": {"a": 1}},
        {"task_id": "t", "callback_type": "a-sink-of-some-worker"},
    ],
)
def test_on_the_wire_stands_what_was_given_and_nothing_else(site: Site, message: dict[str, Any]) -> None:
    site.producer.send_task(message)
    assert site.sent() == [message]


# -- what is refused ------------------------------------------------------------------------------------

INVALID: dict[str, Any] = {
    "no object": ["task"],
    "nothing": None,
    "number as id": {"task_id": 5},
    "empty id": {"task_id": ""},
    "long id": {"task_id": "x" * 256},
    "white space": {"task_id": " t"},
    "data is a list": {"data": [1]},
    "data is no JSON": {"data": {"now": object()}},
    "not a number": {"data": {"x": float("nan")}},
    "lone surrogate": {"data": {"x": "\ud800"}},
    "retries": {"max_retry_count": -1},
    "retries as text": {"retry_count": "3"},
    "url": {"callback_url": "ftp://host/"},
    "unknown field is no JSON": {"mine": {1, 2}},
    "too large": {"data": {"x": "y" * 2000}},
    "a ticket of a worker": {"task_id": "t", "grid_async_task_ticket": True},
}


@pytest.mark.parametrize("name", INVALID)
def test_an_invalid_task_is_refused_before_anything_is_sent(site: Site, name: str) -> None:
    with pytest.raises(ValidationError):
        site.producer.send_task(INVALID[name])
    assert (site.broker.publishes, site.broker.declared, site.table.asked) == ([], [], 0)


def test_an_object_that_is_a_hundred_and_one_levels_deep_is_refused(site: Site) -> None:
    deep: dict[str, Any] = {}
    for _ in range(101):
        deep = {"a": deep}
    with pytest.raises(ValidationError):
        site.producer.send_task({"data": deep})


@pytest.mark.parametrize("queue", ["x" * (MAX_WORK_QUEUE_BYTES + 1), "q\n", 5])
def test_what_can_be_no_queue_is_refused(site: Site, queue: Any) -> None:
    with pytest.raises(ValidationError, match="queue"):
        site.producer.send_task({}, queue_name=queue)
    assert site.broker.declared == []


def test_a_queue_has_to_come_from_somewhere(site: Site) -> None:
    producer = TaskProducer(settings=Settings(), publisher=site.broker, repository=site.table)
    with pytest.raises(ValidationError, match="GRID_ASYNC_TASK_QUEUE"):
        producer.send_task({})
    producer.send_task({"task_id": "t"}, queue_name="named")
    assert site.sent("named") == [{"task_id": "t"}]


# -- queues ---------------------------------------------------------------------------------------------


def test_a_queue_is_declared_before_the_first_send_and_once(site: Site) -> None:
    assert site.producer.get_declared_queues() == set()
    assert not site.producer.is_queue_declared("q")
    for _ in range(3):
        site.producer.send_task({})
    site.producer.send_task_to_queue({}, "other")
    site.producer.batch_send_tasks([{}, {"task_data": {}, "queue_name": "third"}], queue_name="other")
    assert site.broker.declared == ["q", "other", "third"]
    assert site.producer.get_declared_queues() == {"q", "other", "third"}
    assert site.producer.is_queue_declared("third")


def test_the_set_of_declared_queues_is_the_callers_own(site: Site) -> None:
    site.producer.send_task({})
    site.producer.get_declared_queues().clear()
    assert site.producer.is_queue_declared("q")


def test_the_default_queue_is_the_argument_before_the_setting(site: Site) -> None:
    producer = TaskProducer("mine", settings=Settings(queue="set"), publisher=site.broker, record_pending=False)
    producer.send_task({"task_id": "1"})
    TaskProducer(settings=Settings(queue="set"), publisher=site.broker, record_pending=False).send_task(
        {"task_id": "2"}
    )
    assert (site.sent("mine"), site.sent("set")) == ([{"task_id": "1"}], [{"task_id": "2"}])


def test_a_queue_that_could_not_be_declared_is_tried_again(site: Site) -> None:
    site.broker.no_queue["q"] = BrokerUnavailable("away")
    with pytest.raises(ConnectionError) as caught:
        site.producer.send_task({"task_id": "t"})
    assert (caught.value.task_id, caught.value.maybe_sent) == ("t", False)
    assert not site.producer.is_queue_declared("q")
    site.broker.no_queue.clear()
    site.producer.send_task({"task_id": "t"})
    assert site.sent() == [{"task_id": "t"}]


# -- the table --------------------------------------------------------------------------------------------


def test_a_sent_task_is_recorded_as_pending(site: Site) -> None:
    site.producer.send_task({"task_id": "t", "task_type": "x", "data": {"a": 1}, "max_retry_count": 2})
    reading = site.table.read("t")
    assert reading is not None
    task = reading.task
    assert (task.status, task.queue, task.task_type, task.data, task.max_retry_count, task.wake_at) == (
        "pending", "q", "x", {"a": 1}, 2, None,
    )  # fmt: skip


def test_what_was_not_sent_is_not_recorded(site: Site) -> None:
    site.broker.refused["t"] = PublishRefused("full")
    with pytest.raises(GridAsyncTaskError, match="full"):
        site.producer.send_task({"task_id": "t"})
    assert site.table.ids == set()


def test_without_recording_no_table_is_asked(site: Site) -> None:
    producer = TaskProducer("q", record_pending=False, settings=Settings(), publisher=site.broker)
    assert producer.send_task({"task_id": "t"}) == "t"
    given = TaskProducer("q", record_pending=False, settings=Settings(), publisher=site.broker, repository=site.table)
    assert given.send_task({"task_id": "t"}) == "t"
    assert site.table.asked == 0
    assert len(site.sent()) == 2


def test_a_pending_id_is_published_again(site: Site) -> None:
    site.producer.send_task({"task_id": "t", "data": {"a": 1}})
    assert site.producer.send_task({"task_id": "t", "data": {"a": 2}}) == "t"
    assert len(site.sent()) == 2
    reading = site.table.read("t")
    assert reading is not None
    assert reading.task.data == {"a": 1}


def test_an_id_past_pending_is_returned_and_not_published(site: Site) -> None:
    site.producer.send_task({"task_id": "t"})
    reading = site.table.read("t")
    assert reading is not None
    assert site.table.fail_unrun(reading.task, CANCELLED)
    assert site.producer.send_task({"task_id": "t"}) == "t"
    assert site.producer.batch_send_tasks([{"task_id": "t"}, {"task_id": "u"}]) == ["t", "u"]
    assert [message["task_id"] for message in site.sent()] == ["t", "u"]


def test_ids_of_our_own_making_are_not_looked_up(site: Site) -> None:
    site.producer.send_task({})
    before = site.table.asked
    site.producer.send_task({})
    assert site.table.asked == before + 1


@pytest.mark.parametrize("given_id", [{"task_id": "t"}, {}])
def test_with_the_database_away_a_task_is_accepted(site: Site, given_id: dict[str, Any]) -> None:
    site.table.away = [RepositoryUnavailable("away")] * 100
    producer = site.timed()
    task_id = producer.send_task(given_id)
    assert [message["task_id"] for message in site.sent()] == [task_id]
    # an answer may take many seconds to fail, so it is not asked again and again
    asked = site.table.asked
    assert asked <= 2
    producer.send_task(given_id)
    assert site.table.asked == asked


def test_when_the_database_is_back_tasks_are_recorded_again(site: Site) -> None:
    site.table.away = [RepositoryUnavailable("away")] * 2
    producer = site.timed()
    producer.send_task({"task_id": "1"})
    site.now += DATABASE_PAUSE_S - 1
    producer.send_task({"task_id": "2"})
    site.now += 2
    producer.send_task({"task_id": "3"})
    producer.send_task({"task_id": "4"})
    assert site.table.ids == {"3", "4"}
    assert len(site.sent()) == 4


def test_a_connection_that_died_in_hours_of_idleness_costs_no_row(site: Site) -> None:
    producer = site.timed()
    producer.send_task({})
    site.table.away = [RepositoryUnavailable("gone away")]
    producer.send_task({"task_id": "t"})
    assert "t" in site.table.ids


def test_a_database_that_takes_long_to_fail_is_asked_once(site: Site) -> None:
    def slow() -> None:
        site.now += 5
        raise RepositoryUnavailable("timed out")

    site.table.prepare = slow  # type: ignore[method-assign]
    site.timed().send_task({"task_id": "t"})
    assert site.now == 5
    assert len(site.sent()) == 1


# -- batches ----------------------------------------------------------------------------------------------


def test_a_batch_takes_items_of_both_forms_and_keeps_their_order(site: Site) -> None:
    items: list[dict[str, Any]] = [
        {"task_id": "bare", "data": {"a": 1}},
        {"task_data": {"task_id": "inner"}, "task_id": "outer"},
        {"task_data": {"task_id": "elsewhere"}, "queue_name": "own"},
        {"task_data": {"task_type": "x"}},
    ]
    ids = site.producer.batch_send_tasks(items, queue_name="many")
    assert ids[:3] == ["bare", "outer", "elsewhere"]
    assert site.sent("own") == [{"task_id": "elsewhere"}]
    assert site.sent("many") == [
        {"task_id": "bare", "data": {"a": 1}},
        {"task_id": "outer"},
        {"task_id": ids[3], "task_type": "x"},
    ]
    assert site.broker.publishes == [4]
    assert site.table.ids == set(ids)


def test_an_empty_batch_is_nothing(site: Site) -> None:
    assert site.producer.batch_send_tasks([]) == []
    assert (site.broker.publishes, site.table.asked) == ([], 0)


def test_a_batch_asks_broker_and_table_once(site: Site) -> None:
    site.producer.send_task({})
    before = site.table.asked
    site.producer.batch_send_tasks([{} for _ in range(1000)])
    assert site.broker.publishes == [1, 1000]
    assert site.table.asked == before + 1


def test_invalid_items_are_found_before_anything_is_sent(site: Site) -> None:
    with pytest.raises(BatchError) as caught:
        site.producer.batch_send_tasks([{"task_id": "a"}, {"task_id": 5}, "no", {"task_data": None}])  # type: ignore[list-item]
    assert caught.value.accepted == []
    assert list(caught.value.failed) == [1, 2, 3]
    assert all(isinstance(error, ValidationError) for error in caught.value.failed.values())
    assert (site.broker.publishes, site.broker.declared, site.table.asked) == ([], [], 0)


def test_a_batch_that_failed_in_part_says_what_was_sent(site: Site) -> None:
    lost = BrokerUnavailable("connection lost", maybe_sent=True)
    site.broker.refused = {"b": lost, "c": lost, "d": PublishRefused("full")}
    with pytest.raises(BatchError) as caught:
        site.producer.batch_send_tasks([{"task_id": each} for each in "abcde"])
    assert caught.value.accepted == ["a", "e"]
    failed = caught.value.failed
    assert list(failed) == [1, 2, 3]
    assert [(failed[index].task_id, failed[index].maybe_sent) for index in (1, 2)] == [("b", True), ("c", True)]  # type: ignore[attr-defined]
    assert isinstance(failed[1], BrokerUnavailable)
    assert str(failed[1]) == "connection lost"
    assert isinstance(failed[3], PublishRefused)
    assert site.table.ids == {"a", "e"}


def test_a_queue_that_can_not_be_declared_does_not_hold_up_the_others(site: Site) -> None:
    site.broker.no_queue["bad"] = PublishRefused("no rights")
    with pytest.raises(BatchError) as caught:
        site.producer.batch_send_tasks(
            [{"task_id": "a"}, {"task_data": {"task_id": "b"}, "queue_name": "bad"}, {"task_id": "c"}]
        )
    assert (caught.value.accepted, list(caught.value.failed)) == (["a", "c"], [1])
    assert [message["task_id"] for message in site.sent()] == ["a", "c"]


def test_an_id_that_comes_twice_in_a_batch_is_one_row(site: Site) -> None:
    assert site.producer.batch_send_tasks([{"task_id": "t"}, {"task_id": "t"}]) == ["t", "t"]
    assert site.table.ids == {"t"}


# -- errors of the broker -----------------------------------------------------------------------------------


def test_a_task_whose_fate_is_unknown_says_so(site: Site) -> None:
    site.broker.refused["t"] = BrokerUnavailable("no confirm", maybe_sent=True)
    with pytest.raises(ConnectionError) as caught:
        site.producer.send_task({"task_id": "t"})
    assert (caught.value.task_id, caught.value.maybe_sent) == ("t", True)


def test_also_an_id_of_our_making_is_named_by_the_error(site: Site) -> None:
    site.broker.no_queue["q"] = BrokerUnavailable("away")
    with pytest.raises(ConnectionError) as caught:
        site.producer.send_task({})
    assert str(uuid.UUID(caught.value.task_id)) == caught.value.task_id


# -- threads, and the end -------------------------------------------------------------------------------------


def test_threads_share_a_producer(site: Site) -> None:
    ids: list[str] = []

    def send() -> None:
        ids.extend(site.producer.send_task({}) for _ in range(50))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 400
    assert {message["task_id"] for message in site.sent()} == site.table.ids == set(ids)


def test_a_producer_is_its_own_context_manager(site: Site) -> None:
    with site.producer as producer:
        assert producer is site.producer
        producer.send_task({})
    assert (site.broker.closed, site.table.closed) == (1, 1)


def test_closing_closes_what_was_given_and_may_be_done_twice(site: Site) -> None:
    site.producer.close()
    site.producer.close()
    assert site.broker.closed >= 1
    assert site.table.closed >= 1


@pytest.mark.parametrize("record_pending", [True, False])
def test_a_closed_producer_says_so(site: Site, record_pending: bool) -> None:
    producer = TaskProducer(
        "q", record_pending=record_pending, settings=Settings(), publisher=site.broker, repository=site.table
    )
    producer.close()
    with pytest.raises(GridAsyncTaskError, match="closed"):
        producer.send_task({})
    assert site.broker.publishes == []


def test_the_table_is_closed_also_when_the_publisher_can_not_be(site: Site) -> None:
    def fail() -> None:
        raise BrokerUnavailable("stuck")

    site.broker.close = fail  # type: ignore[method-assign]
    with pytest.raises(BrokerUnavailable):
        site.producer.close()
    assert site.table.closed == 1


SEND_TWICE = """
from grid_async_task import Settings, TaskProducer
producer = TaskProducer(settings=Settings(amqp_url="memory://", queue="q", mysql_url="memory://"))
producer.send_task({"task_id": "t"})
producer.send_task({"task_id": "t"})  # warns that it exists
"""


def test_a_program_that_sends_has_its_standard_output_for_itself() -> None:
    done = subprocess.run([sys.executable, "-c", SEND_TWICE], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")
