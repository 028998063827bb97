"""The producer against a real RabbitMQ and a real MariaDB, and what happens to it while they are away."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from sqlalchemy import make_url

from grid_async_task import (
    BatchError,
    ConfigurationError,
    ConnectionError,
    GridAsyncTaskError,
    Settings,
    TaskClient,
    TaskProducer,
)
from grid_async_task.domain.task import TaskStatus
from tests.servers.mariadb import MySqlServer
from tests.servers.rabbitmq import RabbitServer, new_queue_name
from tests.waiting import eventually, quickest


@contextmanager
def channel_to(url: str) -> Iterator[BlockingChannel]:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        yield connection.channel()


def take_all(url: str, queue: str) -> list[tuple[pika.BasicProperties, dict[str, Any]]]:
    taken = []
    with channel_to(url) as channel:
        while True:
            method, properties, body = channel.basic_get(queue, auto_ack=True)
            if method is None:
                return taken
            taken.append((properties, json.loads(body)))


def ids_in(url: str, queue: str) -> list[str]:
    return [body["task_id"] for _, body in take_all(url, queue)]


@pytest.fixture
def settings(amqp_url: str, mysql_url: str) -> Settings:
    return Settings(amqp_url=amqp_url, queue=new_queue_name(), mysql_url=mysql_url)


@pytest.fixture
def producer(settings: Settings) -> Iterator[TaskProducer]:
    with TaskProducer(settings=settings) as producer:
        yield producer


@pytest.fixture
def client(settings: Settings) -> Iterator[TaskClient]:
    client = TaskClient(settings=settings)
    yield client
    client.close()


# -- the usual way --------------------------------------------------------------------------------------------


def test_a_task_is_on_the_queue_and_in_the_table(
    settings: Settings, producer: TaskProducer, client: TaskClient
) -> None:
    message = {"task_id": "任务-1", "data": {"文": "字"}, "retry_count": 3}
    assert producer.send_task(message) == "任务-1"
    ((properties, body),) = take_all(str(settings.amqp_url), str(settings.queue))
    assert body == message
    assert (properties.delivery_mode, properties.content_type) == (2, "application/json")
    assert properties.message_id == "任务-1"
    task = client.get_task("任务-1")
    assert task is not None
    assert (task.status, task.queue, task.data, task.max_retry_count) == (
        TaskStatus.PENDING, settings.queue, {"文": "字"}, 3,
    )  # fmt: skip


LONGEST_IDS = {"one byte": "x" * 255, "three bytes": "任" * 255, "four bytes": "\U0001f600" * 255}


@pytest.mark.parametrize("kind", LONGEST_IDS)
def test_the_longest_id_goes_through(settings: Settings, producer: TaskProducer, client: TaskClient, kind: str) -> None:
    task_id = LONGEST_IDS[kind]
    assert producer.send_task({"task_id": task_id}) == task_id
    assert client.cancel_task(task_id)
    assert client.retry_task(task_id)
    assert ids_in(str(settings.amqp_url), str(settings.queue)) == [task_id, task_id]


def test_an_existing_id_is_published_while_it_is_pending(
    settings: Settings, producer: TaskProducer, client: TaskClient
) -> None:
    for _ in range(2):
        assert producer.send_task({"task_id": "t"}) == "t"
    assert client.cancel_task("t")
    assert producer.send_task({"task_id": "t"}) == "t"
    assert producer.batch_send_tasks([{"task_id": "t"}, {"task_id": "u"}]) == ["t", "u"]
    assert ids_in(str(settings.amqp_url), str(settings.queue)) == ["t", "t", "u"]


def test_a_queue_of_other_kind_is_taken_as_it_is(settings: Settings, producer: TaskProducer) -> None:
    url, queue = str(settings.amqp_url), new_queue_name()
    with channel_to(url) as channel:
        channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
    producer.send_task({"task_id": "t"}, queue_name=queue)
    assert producer.is_queue_declared(queue)
    assert ids_in(url, queue) == ["t"]


def test_a_queue_that_was_deleted_is_made_again(settings: Settings, producer: TaskProducer) -> None:
    url = str(settings.amqp_url)
    producer.send_task({"task_id": "1"})
    with channel_to(url) as channel:
        channel.queue_delete(str(settings.queue))
    producer.send_task({"task_id": "2"})
    assert ids_in(url, str(settings.queue)) == ["2"]


def test_threads_share_a_producer(settings: Settings, producer: TaskProducer, client: TaskClient) -> None:
    sent: list[str] = []
    threads = [
        threading.Thread(target=lambda: sent.extend(producer.send_task({}) for _ in range(20))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(sent)) == 120
    assert sorted(ids_in(str(settings.amqp_url), str(settings.queue))) == sorted(sent)
    assert client.count_by_status()["pending"] == 120


# -- batches --------------------------------------------------------------------------------------------------


def questions(mariadb: MySqlServer) -> int:
    ((_, value),) = mariadb.execute("SHOW GLOBAL STATUS LIKE 'Questions'")
    return int(str(value))


def test_a_batch_of_a_thousand_is_one_wait_and_few_statements(
    settings: Settings, producer: TaskProducer, client: TaskClient, mariadb: MySqlServer
) -> None:
    producer.send_task({"task_id": "first"})
    began, asked = time.monotonic(), questions(mariadb)
    one_by_one = [producer.send_task({"data": {"number": number}}) for number in range(300)]
    single_s, single_statements = time.monotonic() - began, questions(mariadb) - asked

    def send_another() -> float:
        began = time.monotonic()
        producer.batch_send_tasks([{"data": {"number": number}} for number in range(1000)], queue_name=new_queue_name())
        return time.monotonic() - began

    # far less than what the same would have taken one by one: that is ten times as slow or more
    limit_s = single_s / 300 * 1000 / 2
    assert quickest(send_another, limit_s) < limit_s
    waiting = client.count_by_status()["pending"]
    asked = questions(mariadb)
    ids = producer.batch_send_tasks([{"data": {"number": number}} for number in range(1000)])
    batch_statements = questions(mariadb) - asked

    assert single_statements >= 300
    assert batch_statements < 100
    assert len(set(ids)) == 1000
    messages = take_all(str(settings.amqp_url), str(settings.queue))
    assert [body["task_id"] for _, body in messages] == ["first", *one_by_one, *ids]
    assert [body["data"]["number"] for _, body in messages[301:]] == list(range(1000))
    assert client.count_by_status()["pending"] == waiting + 1000


def test_a_full_queue_refuses_and_says_which_tasks(settings: Settings, client: TaskClient) -> None:
    url, full = str(settings.amqp_url), new_queue_name()
    with channel_to(url) as channel:
        channel.queue_declare(full, durable=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    with TaskProducer(settings=settings) as producer:
        producer.send_task({"task_id": "fits"}, queue_name=full)
        with pytest.raises(GridAsyncTaskError, match="did not take"):
            producer.send_task({"task_id": "refused"}, queue_name=full)
        with pytest.raises(BatchError) as caught:
            producer.batch_send_tasks(
                [{"task_id": "a"}, {"task_data": {"task_id": "b"}, "queue_name": full}, {"task_id": "c"}]
            )
    assert (caught.value.accepted, list(caught.value.failed)) == (["a", "c"], [1])
    assert {task.id for task in client.list_tasks()} == {"fits", "a", "c"}
    assert ids_in(url, str(settings.queue)) == ["a", "c"]


# -- through an exchange --------------------------------------------------------------------------------------


def test_a_task_goes_through_the_exchange_that_is_set(settings: Settings) -> None:
    url, exchange, elsewhere = str(settings.amqp_url), new_queue_name(), new_queue_name()
    with channel_to(url) as channel:
        channel.exchange_declare(exchange, "topic")
        channel.queue_declare(elsewhere)
        channel.queue_bind(elsewhere, exchange, "jobs.#")
    through = Settings(amqp_url=url, queue="jobs.a", exchange=exchange)
    with TaskProducer(settings=through, record_pending=False) as producer:
        producer.send_task({"task_id": "t"})
        assert ids_in(url, elsewhere) == ["t"]
        with pytest.raises(GridAsyncTaskError, match=exchange):
            producer.send_task({"task_id": "u"}, queue_name="nowhere")
        with pytest.raises(BatchError) as caught:
            producer.batch_send_tasks([{"task_id": "v"}, {"task_data": {"task_id": "w"}, "queue_name": "nowhere"}])
    assert (caught.value.accepted, list(caught.value.failed)) == (["v"], [1])


def test_an_exchange_that_is_missing_is_an_error(settings: Settings) -> None:
    through = Settings(amqp_url=settings.amqp_url, queue=settings.queue, exchange=new_queue_name())
    with (
        TaskProducer(settings=through, record_pending=False) as producer,
        pytest.raises(GridAsyncTaskError, match=through.exchange),
    ):
        producer.send_task({"task_id": "t"})


# -- the database is away -------------------------------------------------------------------------------------


class DeafDatabase:
    """Takes a connection and hangs up after a while without a word; counts who tries."""

    PATIENCE_S = 1.5

    def __enter__(self) -> DeafDatabase:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.connections = 0
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()
        self.url = f"mysql+pymysql://root:s3cret@127.0.0.1:{self._socket.getsockname()[1]}/task_db"
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection = self._socket.accept()[0]
            except OSError:
                return
            self.connections += 1
            time.sleep(self.PATIENCE_S)
            connection.close()


SEND_MANY = """
import sys
from grid_async_task import Settings, TaskProducer
url, queue = sys.argv[1:]
settings = Settings(amqp_url=url, queue=queue, mysql_url="mysql+pymysql://root:s3cret@127.0.0.1:1/task_db")
with TaskProducer(settings=settings) as producer:
    for number in range(20):
        producer.send_task({"task_id": str(number)})
    producer.batch_send_tasks([{"task_id": "20"}, {"task_id": "21"}])
"""


def test_with_a_database_that_refuses_connections_tasks_are_accepted(amqp_url: str, tmp_path: Path) -> None:
    queue = new_queue_name()
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SEND_MANY, amqp_url, queue],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout
    assert ids_in(amqp_url, queue) == [str(number) for number in range(22)]
    # a warning, and one, not one a task
    assert done.stdout.count("the table could not be asked") == 1, done.stdout
    assert "s3cret" not in done.stdout


def test_a_database_that_does_not_answer_is_waited_for_once(amqp_url: str) -> None:
    queue = new_queue_name()
    with (
        DeafDatabase() as deaf,
        TaskProducer(settings=Settings(amqp_url=amqp_url, queue=queue, mysql_url=deaf.url)) as producer,
    ):
        ids = [producer.send_task({"task_id": f"t{number}"}) for number in range(5)]
        assert deaf.connections == 1
    assert ids_in(amqp_url, queue) == ids


def test_a_database_that_refuses_the_login_does_not_stop_the_producer(
    amqp_url: str, mariadb: MySqlServer, mysql_url: str
) -> None:
    queue, wrong = new_queue_name(), make_url(mysql_url).set(password="wrong").render_as_string(hide_password=False)
    with TaskProducer(settings=Settings(amqp_url=amqp_url, queue=queue, mysql_url=wrong)) as producer:
        producer.send_task({"task_id": "t"})
    assert ids_in(amqp_url, queue) == ["t"]


def test_a_database_connection_that_died_while_idle_costs_no_row(
    settings: Settings, producer: TaskProducer, client: TaskClient, mariadb: MySqlServer
) -> None:
    producer.send_task({"task_id": "1"})
    database = make_url(str(settings.mysql_url)).database
    for number, name in mariadb.execute("SELECT id, db FROM information_schema.processlist"):
        if name == database:
            mariadb.execute(f"KILL {number}")
    producer.send_task({})
    assert client.count_by_status()["pending"] == 2


def test_without_recording_no_database_is_needed(amqp_url: str) -> None:
    queue = new_queue_name()
    with TaskProducer(queue, record_pending=False, settings=Settings(amqp_url=amqp_url)) as producer:
        producer.send_task({"task_id": "t"})
    assert ids_in(amqp_url, queue) == ["t"]


def test_recording_without_a_database_url_is_a_configuration_error(amqp_url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"缺少的配置项：mysql_url\n"):
        TaskProducer("q", settings=Settings(amqp_url=amqp_url))


# -- the broker is away ---------------------------------------------------------------------------------------


def test_a_producer_survives_what_happens_to_its_connection(rabbitmq: RabbitServer) -> None:
    queue = new_queue_name()
    with TaskProducer(queue, record_pending=False, settings=Settings(amqp_url=rabbitmq.url)) as producer:
        producer.send_task({"task_id": "1"})
        rabbitmq.run("close_all_connections", "test")
        producer.send_task({"task_id": "2"})
        rabbitmq.restart()
        assert producer.batch_send_tasks([{"task_id": "3"}, {"task_id": "4"}]) == ["3", "4"]
    assert ids_in(rabbitmq.url, queue) == ["1", "2", "3", "4"]


def test_a_task_without_a_confirm_may_be_sent_again(rabbitmq: RabbitServer) -> None:
    queue = new_queue_name()
    settings = Settings(amqp_url=rabbitmq.url, publish_timeout=4)
    with TaskProducer(queue, record_pending=False, settings=settings) as producer:
        producer.send_task({"task_id": "first"})
        rabbitmq.freeze()
        try:
            with pytest.raises(ConnectionError) as caught:
                producer.send_task({})
            with pytest.raises(BatchError) as batch:
                producer.batch_send_tasks([{"task_id": "a"}, {"task_id": "b"}])
        finally:
            rabbitmq.thaw()
        assert caught.value.maybe_sent
        assert caught.value.task_id
        assert {index: (error.task_id, error.maybe_sent) for index, error in batch.value.failed.items()} == {  # type: ignore[attr-defined]
            0: ("a", True),
            1: ("b", True),
        }

        def sent_again() -> bool:
            try:
                return producer.send_task({}, task_id=caught.value.task_id) == caught.value.task_id
            except ConnectionError:
                return False

        eventually(sent_again)
    assert {"first", caught.value.task_id} <= set(ids_in(rabbitmq.url, queue))


def test_a_broker_that_can_not_be_reached_is_an_error_in_time() -> None:
    settings = Settings(amqp_url="amqp://guest:s3cret@127.0.0.1:1/", publish_timeout=0.5)
    with TaskProducer("q", record_pending=False, settings=settings) as producer:
        with pytest.raises(ConnectionError) as caught:
            producer.send_task({"task_id": "t"})
        assert (caught.value.task_id, caught.value.maybe_sent) == ("t", False)
        assert "s3cret" not in str(caught.value)
        with pytest.raises(BatchError) as batch:
            producer.batch_send_tasks([{}, {}])
        assert (batch.value.accepted, list(batch.value.failed)) == ([], [0, 1])


def test_a_refused_login_is_a_configuration_error(amqp_url: str) -> None:
    wrong = amqp_url.replace("guest:guest@", "guest:s3cret@")
    with (
        TaskProducer("q", record_pending=False, settings=Settings(amqp_url=wrong)) as producer,
        pytest.raises(ConfigurationError) as caught,
    ):
        producer.send_task({"task_id": "t"})
    assert "s3cret" not in str(caught.value)
