"""The published package grid-async-task 1.0.10 itself, beside this one: on one queue, and before it on one table."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timezone
from pathlib import Path
from typing import Any

import pymysql
import pytest
from sqlalchemy import make_url

from grid_async_task import Settings, Task, TaskClient
from grid_async_task.domain.task import TaskStatus
from tests.servers.http_receiver import HttpReceiver
from tests.servers.mariadb import MySqlServer
from tests.servers.rabbitmq import new_queue_name
from tests.waiting import eventually

CHECKOUT = Path(__file__).parents[2]

ENV_FILE = """\
GRID_ASYNC_TASK_AMQP_URL={amqp_url}
GRID_ASYNC_TASK_QUEUE={queue}
GRID_ASYNC_TASK_MYSQL_URL={mysql_url}
GRID_ASYNC_TASK_TABLE_PREFIX=grid_async_task_
GRID_ASYNC_TASK_TABLE_NAME=tasks
GRID_ASYNC_TASK_MAX_RETRY_COUNT=0
GRID_ASYNC_TASK_RETRY_DELAY=1
GRID_ASYNC_TASK_IDLE_TIMEOUT=1
GRID_ASYNC_TASK_PROGRESS_INTERVAL=10
GRID_ASYNC_TASK_LOG_LEVEL=INFO
GRID_ASYNC_TASK_LOG_DIR=logs
GRID_ASYNC_TASK_HEALTH_CHECK_INTERVAL=60
"""

#: written for version 1. On its bad day one kind of task hangs, and one takes the worker down as its message goes back
WORKER = """
import os
import time

from grid_async_task import TaskHandler, TaskProcessor

BAD_DAY = "BAD_DAY" in os.environ


class Resizing(TaskHandler):
    def on_task_start(self):
        self.began = time.time()

    def validate_task_data(self, task_data):
        return "picture" in task_data

    def should_retry(self, error):
        if BAD_DAY and "deadly" in str(error):
            self._processor.channel.basic_nack = lambda **_: os._exit(9)
        return not isinstance(error, ValueError)

    def execute(self, task_data):
        self.report_progress(50, "一半")
        picture = task_data["picture"]
        if picture == "broken.jpg":
            raise ValueError("图片损坏")
        if BAD_DAY and picture == "huge.jpg":
            time.sleep(600)
        if BAD_DAY and picture == "deadly.jpg":
            raise RuntimeError("deadly")
        return {"thumbnail": picture, "id": self.get_task_id(), "type": self.get_task_data()["task_type"]}


TaskProcessor(handler=Resizing()).start()
"""

PRODUCER = """
import json
import sys

from grid_async_task import TaskProducer

producer = TaskProducer()
for task_data in json.loads(sys.argv[1]):
    print("id:", producer.send_task(task_data))
producer.close()
"""


@dataclass
class Installation:
    """One of the two packages, at home in a directory with a `.env`."""

    python: str
    directory: Path
    mysql_url: str
    #: what leads to the checkout, for ours
    path: str = ""

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("GRID_ASYNC_TASK_", "PYTHON"))
        }
        return subprocess.Popen(
            [self.python, "-u", *arguments],
            cwd=self.directory,
            env={**inherited, "PYTHONUTF8": "1", "PYTHONPATH": self.path, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )

    def run(self, *arguments: str) -> str:
        process = self.start(*arguments)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
        return output

    def send(self, *tasks: dict[str, Any]) -> list[str]:
        output = self.run("producer.py", json.dumps(tasks))
        return [line.split(": ")[1] for line in output.splitlines() if line.startswith("id: ")]

    def rows(self, table: str = "grid_async_task_tasks") -> list[dict[str, Any]]:
        return self.ask(f"SELECT * FROM {table}")

    def ask(self, statement: str) -> list[dict[str, Any]]:
        url = make_url(self.mysql_url)
        with (
            closing(
                pymysql.connect(
                    host=url.host,
                    port=url.port or 3306,
                    user=url.username,
                    password=url.password or "",
                    database=url.database,
                    cursorclass=pymysql.cursors.DictCursor,
                )
            ) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)
            return list(cursor.fetchall())


Settle = Callable[[str, str], Installation]


@pytest.fixture(scope="module")
def version_1(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Python that has the real package."""
    venv = tmp_path_factory.mktemp("version-1") / "venv"
    python = str(venv / "bin" / "python")
    for command in (
        ["venv", "--python", sys.executable, str(venv)],
        ["pip", "install", "--python", python, "grid-async-task==1.0.10"],
    ):
        done = subprocess.run([sys.executable, "-m", "uv", "--quiet", *command], capture_output=True, text=True)
        assert done.returncode == 0, f"version 1.0.10 has to come from PyPI:\n{done.stderr}"
    return python


@pytest.fixture
def queue() -> str:
    return new_queue_name()


@pytest.fixture
def settle(tmp_path: Path, amqp_url: str, queue: str) -> Settle:
    """Make a package at home, by a `.env` and programs that are the same for both."""

    def settle(python: str, mysql_url: str) -> Installation:
        is_ours = python == sys.executable
        directory = tmp_path / ("ours" if is_ours else "theirs")
        directory.mkdir()
        env = ENV_FILE.format(amqp_url=amqp_url, queue=queue, mysql_url=mysql_url)
        for name, content in {".env": env, "worker.py": WORKER, "producer.py": PRODUCER}.items():
            (directory / name).write_text(content, encoding="utf-8")
        installation = Installation(python, directory, mysql_url, str(CHECKOUT) if is_ours else "")
        # version 1 makes its table without saying so, and writes Chinese into it
        installation.ask("ALTER DATABASE CHARACTER SET utf8mb4")
        return installation

    return settle


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with HttpReceiver() as receiver:
        yield receiver


def _tasks(mysql_url: str) -> dict[str, Task]:
    with closing(TaskClient(settings=Settings(mysql_url=mysql_url))) as client:
        return {task.id: task for task in client.list_tasks()}


def test_their_producer_and_our_worker(
    version_1: str, settle: Settle, mariadb: MySqlServer, mysql_url: str, queue: str, receiver: HttpReceiver
) -> None:
    theirs = settle(version_1, mariadb.url(mariadb.new_database()))
    ours = settle(sys.executable, mysql_url)
    wanted = {"callback_url": receiver.url, "callback_data": {"order": 7}}
    good, bad = theirs.send(
        {"task_type": "thumbnail", "data": {"picture": "猫.jpg"}, **wanted},
        {"data": {"picture": "broken.jpg"}, "max_retry_count": 3},
    )
    ours.run("worker.py")
    tasks = _tasks(mysql_url)
    assert tasks[good].result == {"thumbnail": "猫.jpg", "id": good, "type": "thumbnail"}
    assert (tasks[good].status, tasks[good].progress.percent, tasks[good].queue) == (TaskStatus.SUCCESS, 100, queue)
    # its should_retry says no to a ValueError
    assert (tasks[bad].status, tasks[bad].attempt) == (TaskStatus.FAILED, 1)
    assert tasks[bad].to_dict()["error_message"] == "图片损坏"
    (request,) = receiver.wait_for(1, timeout=10)
    body = json.loads(request.body)
    assert (body["task_id"], body["status"], body["callback_data"]) == (good, "success", {"order": 7})


def test_our_producer_and_their_worker(
    version_1: str, settle: Settle, mariadb: MySqlServer, mysql_url: str, receiver: HttpReceiver
) -> None:
    theirs = settle(version_1, mariadb.url(mariadb.new_database()))
    ours = settle(sys.executable, mysql_url)
    good, bad = ours.send(
        {"task_type": "thumbnail", "data": {"picture": "猫.jpg"}, "callback_url": receiver.url},
        {"data": {"picture": "broken.jpg"}},
    )
    theirs.run("worker.py")
    rows = {row["task_id"]: row for row in theirs.rows()}
    assert (rows[good]["status"], json.loads(rows[good]["result"])["thumbnail"]) == ("success", "猫.jpg")
    assert rows[bad]["status"] == "failed"
    assert json.loads(receiver.wait_for(1, timeout=10)[0].body)["task_id"] == good


def test_their_own_table_with_tasks_in_every_state_and_what_waits_on_the_queue(
    version_1: str, settle: Settle, mysql_url: str
) -> None:
    theirs = settle(version_1, mysql_url)
    (huge,) = theirs.send({"data": {"picture": "huge.jpg"}})
    hung = theirs.start("worker.py", BAD_DAY="1")
    eventually(lambda: [row["status"] for row in theirs.rows()] == ["running"])
    good, bad, deadly = theirs.send(
        {"data": {"picture": "猫.jpg"}, "callback_data": {"a": [1]}},
        {"data": {"picture": "broken.jpg"}},
        {"data": {"picture": "deadly.jpg"}, "max_retry_count": 3},
    )
    dying = theirs.start("worker.py", BAD_DAY="1")
    assert dying.wait(60) == 9, dying.communicate()
    hung.send_signal(signal.SIGKILL)
    for worker in (hung, dying):
        worker.communicate()
    (later,) = theirs.send({"task_type": "thumbnail", "data": {"picture": "later.jpg"}})
    before = {row["task_id"]: row for row in theirs.rows()}
    states = {huge: "running", good: "success", bad: "failed", deadly: "retrying", later: "pending"}
    assert {task_id: row["status"] for task_id, row in before.items()} == states

    ours = settle(sys.executable, mysql_url)
    refusing = ours.start("worker.py")
    refusal, _ = refusing.communicate(timeout=60)
    assert refusing.returncode != 0
    assert "migrate --from-reference" in refusal
    assert {row["task_id"]: row for row in ours.rows()} == before, "it is left alone until somebody says so"
    ours.run("-m", "grid_async_task.cli", "migrate", "--from-reference")
    assert {row["task_id"]: row for row in ours.rows("grid_async_task_tasks_v1")} == before

    ours.run("worker.py")
    tasks = _tasks(mysql_url)
    assert set(tasks) == set(states)
    assert (tasks[good].result, tasks[good].callback.data) == (json.loads(before[good]["result"]), {"a": [1]})
    assert tasks[good].completed_at == before[good]["completed_at"].replace(tzinfo=timezone.utc)
    assert (tasks[bad].status, tasks[bad].data) == (TaskStatus.FAILED, {"picture": "broken.jpg"})
    for task_id, picture in ((huge, "huge.jpg"), (deadly, "deadly.jpg"), (later, "later.jpg")):
        result = tasks[task_id].result
        assert result is not None
        assert (tasks[task_id].status, result["thumbnail"]) == (TaskStatus.SUCCESS, picture)
    # what was begun under version 1 counts
    assert (tasks[huge].attempt, tasks[deadly].attempt, tasks[later].attempt) == (2, 2, 1)
    assert tasks[deadly].retry_count == 1
