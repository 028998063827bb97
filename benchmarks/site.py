"""The servers that everything is measured on."""

from __future__ import annotations

import json
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pika
import pymysql
from sqlalchemy.engine import make_url

from tests.servers.mariadb import OwnMariaDb
from tests.servers.rabbitmq import RabbitServer


@dataclass(frozen=True)
class Site:
    amqp_url: str
    mysql_url: str
    #: where logs and reports go
    folder: Path


@contextmanager
def open_site() -> Iterator[Site]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="grid-bench-")))
        broker = RabbitServer(folder)
        stack.callback(broker.shut_down)
        broker.start()
        database = OwnMariaDb()
        stack.callback(database.remove)
        yield Site(broker.url, database.url(database.new_database()), folder)


def new_queue() -> str:
    """Rows of an earlier round are nobody's business in the next one."""
    return f"bench-{uuid.uuid4().hex[:12]}"


def fill(amqp_url: str, queue: str, messages: int, data: Mapping[str, Any] | None = None) -> None:
    """So many small, persistent tasks, each with an id of its own."""
    with channel_to(amqp_url) as channel:
        channel.queue_declare(queue, durable=True)
        for _ in range(messages):
            send(channel, queue, data or {"n": 1})


def send(channel: Any, queue: str, data: Mapping[str, Any]) -> None:
    body = json.dumps({"task_id": str(uuid.uuid4()), "data": data}).encode()
    channel.basic_publish("", queue, body, pika.BasicProperties(delivery_mode=2))


def wait_for_consumers(channel: Any, queue: str, consumers: int) -> None:
    deadline = time.monotonic() + 60
    while channel.queue_declare(queue, passive=True).method.consumer_count < consumers:
        if time.monotonic() > deadline:
            raise RuntimeError(f"no {consumers} consumers on the queue")
        time.sleep(0.01)


def remove(amqp_url: str, queue: str) -> None:
    with channel_to(amqp_url) as channel:
        channel.queue_delete(queue)


@contextmanager
def channel_to(amqp_url: str) -> Iterator[Any]:
    with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
        yield connection.channel()


def connect(mysql_url: str) -> Any:
    """By PyMySQL alone, each statement its own transaction."""
    url = make_url(mysql_url)
    return pymysql.connect(
        host=url.host,
        port=url.port or 3306,
        user=url.username,
        password=url.password or "",
        database=url.database,
        autocommit=True,
        charset="utf8mb4",
    )
