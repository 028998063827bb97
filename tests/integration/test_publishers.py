"""Publishers in other languages: the example programs, and what their clients make of a task."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pika
import pytest

from grid_async_task import Settings, Task, TaskHandler, adapter_choice, bootstrap
from tests.servers.rabbitmq import new_queue_name

PUBLISHERS = Path(__file__).parents[2] / "examples" / "publishers"
HOW_TO_GET_NODE = (
    "this test needs Node.js 18 or later with npm: `apt-get install --no-install-recommends nodejs npm` "
    "or `brew install node`"
)


class Greeting(TaskHandler):
    def execute(self, task_data: dict[str, Any]) -> Any:
        return {"greeting": f"Hello, {task_data.get('name', 'nobody')}!"}


@dataclass(frozen=True)
class Site:
    settings: Settings

    @property
    def environment(self) -> dict[str, str]:
        """What the example programs read."""
        return {**os.environ, "AMQP_URL": str(self.settings.amqp_url), "QUEUE": str(self.settings.queue)}

    def declare_queue(self) -> None:
        """As `migrate` does it, so that a publisher finds it."""
        publisher = adapter_choice.open_publisher(self.settings)
        publisher.declare(str(self.settings.queue))
        publisher.close()

    def publish(self, body: bytes, **properties: Any) -> None:
        self.declare_queue()
        parameters = pika.URLParameters(str(self.settings.amqp_url))
        with pika.BlockingConnection(parameters) as connection, connection.channel() as channel:
            channel.confirm_delivery()
            channel.basic_publish(
                "", str(self.settings.queue), body, pika.BasicProperties(**properties), mandatory=True
            )

    def work_off(self, task_id: str) -> Task:
        """Run a worker until there is nothing more to do; the task as it is then."""
        bootstrap.create_worker(Greeting(), settings=self.settings).run()
        client = bootstrap.create_client(settings=self.settings)
        try:
            task = client.get_task(task_id)
        finally:
            client.close()
        assert task is not None, f"no worker has seen task {task_id!r}"
        return task


@pytest.fixture
def site(amqp_url: str, mysql_url: str) -> Site:
    return Site(Settings(amqp_url=amqp_url, queue=new_queue_name(), mysql_url=mysql_url, idle_timeout=1.5))


def run(*command: str | Path, cwd: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=90
    )


# -- the programs ---------------------------------------------------------------------------------------


@pytest.fixture
def nodejs(tmp_path: Path) -> Path:
    """The Node.js example with its dependencies, as `npm install` gets them."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.fail(HOW_TO_GET_NODE)
    directory = tmp_path / "nodejs"
    shutil.copytree(PUBLISHERS / "nodejs", directory, ignore=shutil.ignore_patterns("node_modules"))
    installed = run("npm", "install", "--no-audit", "--no-fund", cwd=directory, environment=dict(os.environ))
    assert installed.returncode == 0, installed.stdout + installed.stderr
    return directory


def test_python_publishes_a_task(site: Site, tmp_path: Path) -> None:
    site.declare_queue()
    done = run(sys.executable, PUBLISHERS / "python" / "publish.py", cwd=tmp_path, environment=site.environment)
    assert done.returncode == 0, done.stderr
    task = site.work_off(done.stdout.strip())
    assert (task.status, task.task_type, task.result) == ("success", "greeting", {"greeting": "Hello, Python!"})


def test_nodejs_publishes_a_task(site: Site, nodejs: Path) -> None:
    site.declare_queue()
    done = run("node", "publish.js", cwd=nodejs, environment=site.environment)
    assert done.returncode == 0, done.stderr
    task = site.work_off(done.stdout.strip())
    assert (task.status, task.task_type, task.result) == ("success", "greeting", {"greeting": "Hello, Node.js!"})


def test_python_says_that_the_queue_is_missing(site: Site, tmp_path: Path) -> None:
    done = run(sys.executable, PUBLISHERS / "python" / "publish.py", cwd=tmp_path, environment=site.environment)
    assert done.returncode == 1
    assert "does not exist" in done.stderr


def test_nodejs_says_that_the_queue_is_missing(site: Site, nodejs: Path) -> None:
    done = run("node", "publish.js", cwd=nodejs, environment=site.environment)
    assert done.returncode == 1
    assert "does not exist" in done.stderr


# -- what the other languages' clients send ----------------------------------------------------------------

GO_ZERO_VALUES = (
    b'{"task_id":"go-1","task_type":"","data":null,"max_retry_count":null,"callback_url":"","callback_type":"",'
    b'"callback_data":null}'
)
PHP_EMPTY_ARRAYS = b'{"task_id":"php-1","data":[],"callback_data":[]}'
SPRING_RECORD = (
    b'{"task_id":"java-1","task_type":"greeting","data":{"name":"Java"},"max_retry_count":null,"callback_url":null,'
    b'"callback_data":null}'
)
SPRING_PROPERTIES: dict[str, Any] = {
    "content_type": "application/json",
    "content_encoding": "UTF-8",
    "delivery_mode": 2,
    "priority": 0,
    "headers": {
        "__TypeId__": "com.example.tasks.Task",
        "spring_returned_message_correlation": "java-1",
        "spring_listener_return_correlation": "6a0e5f6e-3a4d-4c35-9a7e-0c6b7f0c7a11",
    },
}


@pytest.mark.parametrize(
    ("task_id", "body", "properties"),
    [
        pytest.param("go-1", GO_ZERO_VALUES, {"content_type": "application/json", "delivery_mode": 2}, id="go"),
        pytest.param("php-1", PHP_EMPTY_ARRAYS, {}, id="php"),
    ],
)
def test_empty_values_are_absent_values(site: Site, task_id: str, body: bytes, properties: dict[str, Any]) -> None:
    site.publish(body, **properties)
    task = site.work_off(task_id)
    assert (task.status, task.task_type, task.data) == ("success", "default", {})
    assert task.max_retry_count == site.settings.max_retry_count
    assert (task.callback.is_asked, task.callback.type, task.callback.data) == (False, "http", {})


def test_what_springs_converter_adds_does_no_harm(site: Site) -> None:
    site.publish(SPRING_RECORD, **SPRING_PROPERTIES)
    task = site.work_off("java-1")
    assert (task.status, task.result) == ("success", {"greeting": "Hello, Java!"})


def test_spring_without_the_converter_is_told_about_it(site: Site) -> None:
    """A record that implements Serializable, as Spring's default converter sends it."""
    site.publish(
        b"\xac\xed\x00\x05sr\x00\x16com.example.tasks.Task", content_type="application/x-java-serialized-object"
    )
    bootstrap.create_worker(Greeting(), settings=site.settings).run()
    parameters = pika.URLParameters(str(site.settings.amqp_url))
    with pika.BlockingConnection(parameters) as connection, connection.channel() as channel:
        _, properties, _ = channel.basic_get(f"{site.settings.queue}.dead", auto_ack=True)
    headers = (properties and properties.headers) or {}
    assert headers["x-grid-reason"] == "java_serialized"
    assert "Jackson2JsonMessageConverter" in str(headers["x-grid-error"])


def test_the_examples_send_what_is_tested_here() -> None:
    """The bodies above are those of the example programs for languages that are not run here."""
    go = (PUBLISHERS / "go" / "main.go").read_text()
    assert [f'`json:"{name}"`' in go for name in json.loads(GO_ZERO_VALUES)] == [True] * 7
    java = (PUBLISHERS / "java-spring/src/main/java/com/example/tasks/Task.java").read_text()
    assert [f'@JsonProperty("{name}")' in java for name in json.loads(SPRING_RECORD)] == [True] * 6
    assert "'callback_data' => []" in (PUBLISHERS / "php" / "publish.php").read_text()
