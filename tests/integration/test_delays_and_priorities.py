"""Tasks sent for later and tasks with a priority, through real queues."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pika
import pytest

from grid_async_task import TaskHandler, TaskProducer, adapter_choice
from grid_async_task.application.due_time import DUE_HEADER
from tests.cli_site import Site
from tests.servers.rabbitmq import new_queue_name
from tests.waiting import eventually


class Noting(TaskHandler):
    def __init__(self) -> None:
        self.began: dict[str, datetime] = {}

    def execute(self, task_data: dict[str, Any]) -> Any:
        self.began[str(self.task_id)] = datetime.now(timezone.utc)


@pytest.fixture(params=["servers", "embedded"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    if request.param == "servers":
        amqp_url, mysql_url = request.getfixturevalue("amqp_url"), request.getfixturevalue("mysql_url")
        return Site(tmp_path, amqp_url, mysql_url, new_queue_name())
    url = f"sqlite:///{tmp_path / 'tasks.db'}"
    return Site(tmp_path, url, url, "work")


@pytest.fixture
def producer(site: Site) -> Iterator[TaskProducer]:
    with TaskProducer(settings=site.settings()) as producer:
        yield producer


def test_a_task_begins_when_it_is_due(site: Site, producer: TaskProducer) -> None:
    sent = datetime.now(timezone.utc)
    producer.send_task({"task_id": "later"}, delay=3)
    producer.send_task({"task_id": "at"}, at=sent + timedelta(seconds=4))
    publisher = adapter_choice.open_publisher(site.settings())
    assert publisher.declare(site.queue).ready == 0, "KEDA sees it before its time"
    publisher.close()
    repository = adapter_choice.open_repository(site.settings())
    reading = repository.read("later")
    repository.close()
    assert reading is not None
    assert reading.task.wake_at is not None
    assert timedelta(seconds=0) < reading.task.wake_at - reading.now <= timedelta(seconds=3)
    handler = Noting()
    site.work(handler, idle_timeout=6)
    waited = {task_id: (began - sent).total_seconds() for task_id, began in handler.began.items()}
    assert waited["later"] >= 2.9
    assert waited["at"] >= 3.9


def test_a_producer_in_any_language_names_the_time_by_a_header(amqp_url: str, mysql_url: str, tmp_path: Path) -> None:
    site = Site(tmp_path, amqp_url, mysql_url, new_queue_name())
    due = (datetime.now(timezone.utc) + timedelta(seconds=4)).replace(microsecond=0)
    with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
        channel = connection.channel()
        channel.queue_declare(site.queue, durable=True)
        properties = pika.BasicProperties(headers={DUE_HEADER: due.strftime("%Y-%m-%dT%H:%M:%SZ")})
        channel.basic_publish("", site.queue, b'{"task_id": "t"}', properties)
    handler = Noting()
    site.work(handler, idle_timeout=6)
    assert due - timedelta(seconds=1) <= handler.began["t"]


def test_a_higher_priority_overtakes(amqp_url: str, mysql_url: str, tmp_path: Path) -> None:
    site = Site(tmp_path, amqp_url, mysql_url, new_queue_name())
    with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
        connection.channel().queue_declare(site.queue, durable=True, arguments={"x-max-priority": 10})
    with TaskProducer(settings=site.settings()) as producer:
        for priority in (None, 1, 9, 5):
            producer.send_task({"task_id": f"p{priority}"}, priority=priority)
        # through the delay queues as well
        producer.send_task({"task_id": "delayed p10"}, priority=10, delay=1)
    publisher = adapter_choice.open_publisher(site.settings())
    eventually(lambda: publisher.declare(site.queue).ready == 5)
    publisher.close()
    handler = Noting()
    site.work(handler)
    assert list(handler.began) == ["delayed p10", "p9", "p5", "p1", "pNone"]


def test_the_command_sends_for_later_too(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'tasks.db'}"
    site = Site(tmp_path, url, url, "work")
    assert site.program("send", "--task-id", "t", "--delay", "2h", "--priority", "3").returncode == 0
    row = json.loads(site.program("status", "t", "--json").stdout)
    due = datetime.fromisoformat(row["wake_at"].replace("Z", "+00:00"))
    assert timedelta(minutes=115) < due - datetime.now(timezone.utc) < timedelta(hours=2)
    assert row["status"] == "pending"
    assert site.program("send", "--task-id", "u", "--priority", "300").returncode == 1
