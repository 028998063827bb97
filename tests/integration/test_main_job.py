"""The main job on real servers: a message by plain pika, a worker, its result in the row, the callback received."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pika
import pytest

from grid_async_task import Settings, TaskHandler, adapter_choice, bootstrap
from grid_async_task.domain.message import TICKET_FIELD
from tests.bad_bodies import BAD_BODIES
from tests.servers.http_receiver import HttpReceiver
from tests.servers.rabbitmq import new_queue_name


@dataclass
class Site:
    settings: Settings
    receiver: HttpReceiver

    def publish(self, *bodies: bytes, **properties: Any) -> None:
        """As any other service does it: default exchange, the queue declared by nobody but the worker."""
        parameters = pika.URLParameters(str(self.settings.amqp_url))
        with pika.BlockingConnection(parameters) as connection, connection.channel() as channel:
            channel.queue_declare(str(self.settings.queue), durable=True)
            for body in bodies:
                channel.basic_publish(
                    "", str(self.settings.queue), body, pika.BasicProperties(delivery_mode=2, **properties)
                )

    def take_all(self, queue: str) -> list[tuple[pika.BasicProperties, bytes]]:
        parameters = pika.URLParameters(str(self.settings.amqp_url))
        taken = []
        with pika.BlockingConnection(parameters) as connection, connection.channel() as channel:
            while True:
                method, properties, body = channel.basic_get(queue, auto_ack=True)
                if method is None:
                    return taken
                taken.append((properties, body))


@pytest.fixture
def site(amqp_url: str, mysql_url: str) -> Iterator[Site]:
    settings = Settings(
        amqp_url=amqp_url,
        queue=new_queue_name(),
        mysql_url=mysql_url,
        idle_timeout=1.5,
        message_max_bytes=100_000,
    )
    with HttpReceiver() as receiver:
        yield Site(settings, receiver)


class Doubling(TaskHandler):
    def execute(self, task_data: dict[str, Any]) -> Any:
        self.report_progress(50, "halfway")
        return {"doubled": task_data["number"] * 2}


def test_a_task_goes_from_its_message_to_its_result_and_callback(site: Site) -> None:
    message = {
        "task_id": "任务-1",
        "task_type": "doubling",
        "data": {"number": 21},
        "callback_url": site.receiver.url + "/hook",
        "callback_data": {"order": "x"},
    }
    site.publish(json.dumps(message).encode())
    bootstrap.create_worker(Doubling(), settings=site.settings).run()

    client = bootstrap.create_client(settings=site.settings)
    task = client.get_task("任务-1")
    assert task is not None
    assert (task.status, task.result, task.attempt) == ("success", {"doubled": 42}, 1)
    assert client.get_progress("任务-1") == {
        "task_id": "任务-1",
        "progress": 100,
        "progress_message": "halfway",
        "status": "success",
        "updated_at": task.to_dict()["updated_at"],
    }
    (request,) = site.receiver.wait_for(1)
    assert json.loads(request.body) == {
        "task_id": "任务-1",
        "status": "success",
        "result": {"doubled": 42},
        "timestamp": task.to_dict()["completed_at"],
        "callback_data": {"order": "x"},
    }
    assert request.headers["webhook-id"]
    assert client.count_by_status() == {"pending": 0, "running": 0, "success": 1, "failed": 0, "retrying": 0}
    client.close()


class FailOnce(TaskHandler):
    def execute(self, task_data: dict[str, Any]) -> Any:
        if self.attempt == 1:
            raise RuntimeError("not yet")
        return {"attempt": self.attempt}


def test_a_retry_waits_in_the_delay_queues(site: Site) -> None:
    site.publish(b'{"task_id":"again","max_retry_count":1}')
    settings = Settings(
        amqp_url=site.settings.amqp_url,
        queue=site.settings.queue,
        mysql_url=site.settings.mysql_url,
        idle_timeout=7,
        retry_delay=1,
    )
    bootstrap.create_worker(FailOnce(), settings=settings).run()
    task = bootstrap.create_client(settings=settings).get_task("again")
    assert task is not None
    assert (task.status, task.result, task.retry_count) == ("success", {"attempt": 2}, 1)


def test_a_callback_over_rabbitmq(site: Site) -> None:
    reply_queue = new_queue_name()
    message = {
        "task_id": "reply",
        "data": {"number": 2},
        "callback_type": "rabbitmq",
        "callback_data": {"queue_name": reply_queue},
    }
    site.publish(json.dumps(message).encode())
    bootstrap.create_worker(Doubling(), settings=site.settings).run()
    ((properties, body),) = site.take_all(reply_queue)
    assert json.loads(body)["result"] == {"doubled": 4}
    assert (properties.delivery_mode, properties.content_type) == (2, "application/json")
    assert properties.message_id


def test_bad_messages_end_on_the_dead_letter_queue_and_the_worker_goes_on(site: Site) -> None:
    table = adapter_choice.open_repository(site.settings)
    table.prepare()
    for bad in BAD_BODIES.values():
        site.publish(bad.body, content_type="application/x-test", headers={"x-mine": "kept", "x-death": []})
    site.publish(b'{"task_id":"good","data":{"number":1}}')
    bootstrap.create_worker(Doubling(), settings=site.settings).run()

    dead = site.take_all(f"{site.settings.queue}.dead")
    assert [body for _, body in dead] == [bad.body for bad in BAD_BODIES.values()]
    for (properties, _), bad in zip(dead, BAD_BODIES.values(), strict=True):
        headers = properties.headers or {}
        assert headers["x-grid-reason"] == bad.reason
        assert headers["x-grid-queue"] == site.settings.queue
        assert headers["x-grid-error"]
        assert headers["x-grid-worker"]
        assert headers["x-grid-dead-at"].endswith("Z")
        assert headers["x-mine"] == "kept"
        assert "x-death" not in headers
        assert properties.content_type == "application/x-test"
    assert not site.take_all(str(site.settings.queue))
    client = bootstrap.create_client(settings=site.settings)
    good = client.get_task("good")
    assert good is not None
    assert good.status == "success"
    recorded = client.get_task("bad-one")
    assert recorded is not None
    assert recorded.failure is not None
    assert (recorded.status, recorded.failure.error_type) == ("failed", "ValidationError")


def test_a_bad_message_sends_its_failure_callback_once(site: Site) -> None:
    message = {"task_id": "bad", "data": 5, "callback_url": site.receiver.url, "callback_data": {"a": 1}}
    site.publish(json.dumps(message).encode(), json.dumps(message).encode())
    bootstrap.create_worker(Doubling(), settings=site.settings).run()
    (request,) = site.receiver.requests
    answer = json.loads(request.body)
    assert (answer["status"], answer["result"]["error_type"]) == ("failed", "ValidationError")
    assert answer["callback_data"] == {"a": 1}


def test_a_bad_message_leaves_an_existing_row_alone(site: Site) -> None:
    site.publish(b'{"task_id":"t","data":{"number":1}}')
    bootstrap.create_worker(Doubling(), settings=site.settings).run()
    client = bootstrap.create_client(settings=site.settings)
    before = client.get_task("t")
    site.publish(b'{"task_id":"t","data":"bad"}')
    bootstrap.create_worker(Doubling(), settings=site.settings).run()
    assert client.get_task("t") == before
    assert len(site.take_all(f"{site.settings.queue}.dead")) == 1


@pytest.mark.parametrize("status", [500, 302])
def test_a_receiver_that_does_not_say_200_is_tried_again(site: Site, status: int) -> None:
    site.receiver.answer_with([status])
    site.publish(json.dumps({"task_id": "t", "data": {"number": 1}, "callback_url": site.receiver.url}).encode())
    settings = Settings(
        amqp_url=site.settings.amqp_url, queue=site.settings.queue, mysql_url=site.settings.mysql_url, idle_timeout=7
    )
    bootstrap.create_worker(Doubling(), settings=settings).run()
    requests = site.receiver.requests
    assert len(requests) == 2
    assert requests[0].body == requests[1].body
    assert requests[0].headers["webhook-id"] == requests[1].headers["webhook-id"]


def test_a_parked_ticket_of_a_dead_message_never_carries_the_bad_body(site: Site) -> None:
    site.receiver.answer_with([500, 200])
    site.publish(json.dumps({"task_id": "bad", "data": 5, "callback_url": site.receiver.url}).encode())
    settings = Settings(
        amqp_url=site.settings.amqp_url, queue=site.settings.queue, mysql_url=site.settings.mysql_url, idle_timeout=7
    )
    bootstrap.create_worker(Doubling(), settings=settings).run()
    assert len(site.receiver.requests) == 2
    dead = site.take_all(f"{site.settings.queue}.dead")
    assert len(dead) == 1
    assert TICKET_FIELD.encode() not in dead[0][1]


def publish_raw_headers(site: Site, body: bytes, headers: bytes) -> None:
    """As a client that encodes its headers by itself; pika would refuse these."""
    parameters = pika.URLParameters(str(site.settings.amqp_url))
    with pika.BlockingConnection(parameters) as connection, connection.channel() as channel:
        channel.queue_declare(str(site.settings.queue), durable=True)
        properties = pika.BasicProperties(delivery_mode=2, headers={"x": "y"})
        pieces = properties.encode()
        encoded_table = struct.pack(">I", len(headers)) + headers
        properties.encode = lambda: [*pieces[:1], encoded_table, *pieces[-1:]]  # type: ignore[method-assign]
        channel.basic_publish("", str(site.settings.queue), body, properties)


def field(name: bytes, value: bytes) -> bytes:
    return struct.pack("B", len(name)) + name + value


ODD_HEADERS = {
    "a time in milliseconds": field(b"sent", b"T" + struct.pack(">Q", 1_700_000_000_000)),
    "a name that is not UTF-8": field(b"gr\xfc\xdfe", b"S" + struct.pack(">I", 1) + b"x"),
    "a delivery count that is a text": field(b"x-delivery-count", b"S" + struct.pack(">I", 2) + b"me"),
    "a double": field(b"weight", b"d" + struct.pack(">d", 1.5)),
}


@pytest.mark.parametrize("name", ODD_HEADERS)
def test_odd_headers_hold_nobody_up(site: Site, name: str) -> None:
    publish_raw_headers(site, b'{"task_id":"odd","data":{"number":1},"max_retry_count":1}', ODD_HEADERS[name])
    publish_raw_headers(site, b"no task", ODD_HEADERS[name])
    site.publish(b'{"task_id":"next","data":{"number":2}}')
    bootstrap.create_worker(Doubling(), settings=site.settings).run()
    client = bootstrap.create_client(settings=site.settings)
    assert client.count_by_status()["success"] == 2
    assert [body for _, body in site.take_all(f"{site.settings.queue}.dead")] == [b"no task"]


def test_headers_that_leave_no_room_for_ours_are_cut(site: Site) -> None:
    headers = {"x-large": "x" * 90_000, "x-larger": "y" * 40_000, "x-mine": "kept"}
    site.publish(b"no task", headers=headers)
    bootstrap.create_worker(Doubling(), settings=site.settings).run()
    ((properties, body),) = site.take_all(f"{site.settings.queue}.dead")
    assert body == b"no task"
    kept = properties.headers or {}
    assert kept["x-mine"] == "kept"
    assert kept["x-grid-reason"] == "not_json"
    assert "x-large" not in kept
