"""Where real workers run on real servers, and what a test needs to see them from outside."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pika

from grid_async_task import Settings, Task, bootstrap
from grid_async_task.application.client import Client
from grid_async_task.domain.task import TaskStatus
from tests.servers.rabbitmq import new_queue_name
from tests.waiting import eventually
from tests.worker_process import WorkerProcess


@dataclass
class Site:
    directory: Path
    settings: dict[str, Any]
    workers: list[WorkerProcess] = field(default_factory=list)

    def __post_init__(self) -> None:
        # workers with a short lease wait no longer than that for an answer; a test's look has time
        self.client: Client = bootstrap.create_client(settings=Settings(**{**self.settings, "lease_seconds": 180}))

    def worker(self, handler: str = "tests.handlers:Diary", **settings: Any) -> WorkerProcess:
        worker = WorkerProcess(self.directory, handler, **{**self.settings, **settings})
        self.workers.append(worker)
        return worker

    def publish(self, **message: Any) -> None:
        with pika.BlockingConnection(pika.URLParameters(self.settings["amqp_url"])) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            channel.queue_declare(self.settings["queue"], durable=True)
            body = json.dumps({"task_id": "t", **message}).encode()
            channel.basic_publish("", self.settings["queue"], body, pika.BasicProperties(delivery_mode=2))

    def task(self) -> Task:
        task = self.client.get_task("t")
        assert task is not None
        return task

    def wait_for(self, status: TaskStatus, timeout_s: float = 60.0) -> Task:
        def look() -> Task | None:
            task = self.client.get_task("t")
            return task if task is not None and task.status is status else None

        try:
            return eventually(look, timeout_s, f"the task is {status.value}")  # type: ignore[return-value]
        except AssertionError as error:
            logs = "\n".join(worker.log() for worker in self.workers)
            raise AssertionError(f"{error}; it is {self.client.get_task('t')}\n{logs}") from error

    def assert_handed_back_at_no_cost(self) -> None:
        task = self.task()
        assert (task.status, task.retry_count, task.crash_count, task.owner) == (TaskStatus.PENDING, 0, 0, None)

    def diary(self) -> list[str]:
        return self.workers[0].diary() if self.workers else []

    def starts(self) -> list[str]:
        return [line for line in self.diary() if line.startswith("start")]

    def finish_file(self) -> Path:
        return self.directory / "finish"

    def messages(self) -> int:
        with pika.BlockingConnection(pika.URLParameters(self.settings["amqp_url"])) as connection:
            return int(connection.channel().queue_declare(self.settings["queue"], passive=True).method.message_count)


@contextmanager
def open_site(directory: Path, amqp_url: str, mysql_url: str) -> Iterator[Site]:
    """A queue and a table of its own. Its workers are killed at the end."""
    settings = {
        "amqp_url": amqp_url,
        "queue": new_queue_name(),
        "mysql_url": mysql_url,
        # a lease this short is taken over after 5 s of watching
        "lease_seconds": 6,
    }
    site = Site(directory, settings)
    try:
        yield site
    finally:
        for worker in site.workers:
            worker.__exit__(None, None, None)
        site.client.close()
