"""TaskProcessor against a real RabbitMQ and a real MariaDB: as a part of a larger program, and when they are away."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from grid_async_task import ConfigurationError, Settings, TaskClient, TaskHandler, TaskProcessor, TaskProducer
from tests.servers.rabbitmq import RabbitServer, new_queue_name
from tests.waiting import eventually


class Waiting(TaskHandler):
    """Runs until the test lets it end."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.may_end = threading.Event()

    def execute(self, task_data: dict[str, Any]) -> Any:
        self.began.set()
        assert self.may_end.wait(60)
        return {"done": True}


class Sleeping(TaskHandler):
    def execute(self, task_data: dict[str, Any]) -> Any:
        time.sleep(60)


@contextmanager
def started(processor: TaskProcessor) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=processor.start)
    thread.start()
    try:
        yield thread
    finally:
        processor.stop()
        thread.join(30)
        assert not thread.is_alive()


def status_of(settings: Settings, task_id: str) -> str | None:
    client = TaskClient(settings=settings)
    try:
        task = client.get_task(task_id)
        return None if task is None else task.status.value
    finally:
        client.close()


def send(settings: Settings, task_id: str) -> None:
    with TaskProducer(settings=settings) as producer:
        producer.send_task({"task_id": task_id})


@pytest.fixture
def settings(amqp_url: str, mysql_url: str) -> Settings:
    return Settings(amqp_url=amqp_url, queue=new_queue_name(), mysql_url=mysql_url)


def test_its_status_tells_what_it_does(settings: Settings) -> None:
    handler = Waiting()
    processor = TaskProcessor(handler, settings=settings)
    assert processor.get_status()["rabbitmq_connected"] is False
    with started(processor):
        eventually(lambda: processor.get_status()["rabbitmq_connected"])
        assert (processor.is_running, processor.current_task_id) == (True, None)
        send(settings, "t")
        assert handler.began.wait(30)
        assert processor.get_status() == {
            "is_running": True,
            "current_task_id": "t",
            "rabbitmq_connected": True,
            "settings": {"max_retry_count": 0, "retry_delay": 60.0, "prefetch_count": 1, "task_timeout": 0.0},
        }
        handler.may_end.set()
        eventually(lambda: processor.current_task_id is None)
    status = processor.get_status()
    assert (status["is_running"], status["rabbitmq_connected"]) == (False, False)
    assert status_of(settings, "t") == "success"


def test_a_broker_that_is_away_at_the_start_is_waited_for(rabbitmq: RabbitServer, mysql_url: str) -> None:
    settings = Settings(amqp_url=rabbitmq.url, queue=new_queue_name(), mysql_url=mysql_url)
    handler = Waiting()
    handler.may_end.set()
    rabbitmq.stop()
    processor = TaskProcessor(handler, settings=settings)
    with started(processor) as thread:
        eventually(lambda: processor.is_running)
        assert processor.get_status()["rabbitmq_connected"] is False
        rabbitmq.start()
        eventually(lambda: processor.get_status()["rabbitmq_connected"])
        send(settings, "t")
        eventually(lambda: status_of(settings, "t") == "success")
        rabbitmq.restart()
        assert thread.is_alive()
        eventually(lambda: processor.get_status()["rabbitmq_connected"])


def test_it_can_be_stopped_while_it_waits_for_its_servers(mysql_url: str) -> None:
    no_broker = "amqp://guest:guest@127.0.0.1:1/"
    for database in (mysql_url, "mysql+pymysql://root:password@127.0.0.1:1/task_db"):
        processor = TaskProcessor(Waiting(), settings=Settings(amqp_url=no_broker, queue="q", mysql_url=database))
        with started(processor):
            eventually(lambda processor=processor: processor.is_running)  # type: ignore[misc]


def test_a_login_that_the_broker_refuses_is_a_configuration_error(settings: Settings) -> None:
    wrong = str(settings.amqp_url).replace("guest:guest@", "guest:s3cret@")
    processor = TaskProcessor(
        Waiting(), settings=Settings(amqp_url=wrong, queue=settings.queue, mysql_url=settings.mysql_url)
    )
    with pytest.raises(ConfigurationError) as caught:
        processor.start()
    assert "s3cret" not in str(caught.value)
    assert not processor.is_running


def test_a_login_that_the_database_refuses_is_a_configuration_error(settings: Settings) -> None:
    wrong = make_url(str(settings.mysql_url)).set(password="s3cret2").render_as_string(hide_password=False)
    processor = TaskProcessor(
        Waiting(), settings=Settings(amqp_url=settings.amqp_url, queue=settings.queue, mysql_url=wrong)
    )
    with pytest.raises(ConfigurationError, match="password") as caught:
        processor.start()
    assert "s3cret2" not in str(caught.value)


def test_a_time_limit_interrupts_a_handler_that_blocks(settings: Settings) -> None:
    send(settings, "t")
    TaskProcessor(Sleeping(), settings=settings, task_timeout=0.5, idle_timeout=1).start()
    client = TaskClient(settings=settings)
    task = client.get_task("t")
    client.close()
    assert task is not None
    assert task.failure is not None
    assert (task.status, task.failure.error_type) == ("failed", "TimeoutError")


def test_retries_are_those_of_the_keywords(settings: Settings) -> None:
    class Failing(TaskHandler):
        def execute(self, task_data: dict[str, Any]) -> Any:
            raise ValueError("never")

    send(settings, "t")
    TaskProcessor(Failing(), settings=settings, max_retry_count=1, retry_delay=1, idle_timeout=7).start()
    client = TaskClient(settings=settings)
    task = client.get_task("t")
    client.close()
    assert task is not None
    assert task.failure is not None
    assert (task.status, task.attempt, task.failure.error_type, task.failure.cause) == (
        "failed", 2, "RetryExhausted", "ValueError",
    )  # fmt: skip


@pytest.mark.parametrize("embedded", [True, False], ids=["sqlite", "memory"])
def test_without_servers(tmp_path: Path, embedded: bool) -> None:
    url = f"sqlite:///{tmp_path}/tasks.db" if embedded else "memory://"
    settings = Settings(amqp_url=url, queue=new_queue_name(), mysql_url=url)
    handler = Waiting()
    processor = TaskProcessor(handler, settings=settings)
    task_id = new_queue_name()
    send(settings, task_id)
    with started(processor):
        assert handler.began.wait(30)
        assert processor.current_task_id == task_id
        assert status_of(settings, task_id) == "running"
        handler.may_end.set()
        eventually(lambda: processor.current_task_id is None)
    assert status_of(settings, task_id) == "success"
