"""The examples run, and the adapters in them keep their ports' contracts.

The contract classes here are what an author of an adapter writes: a class that derives from the
contract of the port, and says how the adapter is made and what arrived.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from examples.custom_sink import LogbookSink
from examples.sink_plugin.grid_spool_sink import SpoolSink
from examples.swapped_adapters import LineNotifier, counted
from grid_async_task import ConfigurationError, PermanentCallbackError, Settings, TaskHandler, bootstrap
from grid_async_task.adapters.memory import FakeClock, MemoryTaskRepository
from grid_async_task.ports import CallbackSender, Notifier, TaskRepository
from grid_async_task.testing.contracts import CallbackSenderContract, NotifierContract, TaskRepositoryContract
from grid_async_task.testing.contracts.callback_sender import Received

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def run_example(program: Path, *arguments: str, directory: Path) -> str:
    """What the program prints, run as a person would run it: in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GRID_ASYNC_TASK_")}
    done = subprocess.run(
        [sys.executable, str(program), *arguments],
        cwd=directory,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# -- the programs ---------------------------------------------------------------------------------------


def test_hello_runs_without_servers(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES / "hello", tmp_path / "hello")  # it writes its file beside itself
    printed = run_example(Path("hello.py"), "Grid", directory=tmp_path / "hello")
    assert printed.splitlines()[-1] == "success 100 {'greeting': 'Hello, Grid!'}"


def test_the_command_line_runs_hello_by_its_env_file(tmp_path: Path) -> None:
    directory = tmp_path / "hello"
    shutil.copytree(EXAMPLES / "hello", directory)
    file = f"sqlite:///{directory}/hello.db"
    settings = Settings(amqp_url=file, mysql_url=file, queue="hello")
    with bootstrap.create_producer(settings=settings) as producer:
        producer.send_task({"data": {"name": "Grid"}}, "by-command")
    run_example(Path("-m"), "grid_async_task.cli", directory=directory)
    client = bootstrap.create_client(settings=settings)
    task = client.get_task("by-command")
    client.close()
    assert task is not None
    assert (task.status, task.result) == ("success", {"greeting": "Hello, Grid!"})


def test_the_custom_sink_gets_the_callback(tmp_path: Path) -> None:
    run_example(EXAMPLES / "custom_sink.py", directory=tmp_path)
    (line,) = (tmp_path / "squares.jsonl").read_text().splitlines()
    callback = json.loads(json.loads(line)["callback"])
    assert (callback["status"], callback["result"]) == ("success", {"square": 49})


def test_the_swapped_adapters_see_every_task(tmp_path: Path) -> None:
    printed = run_example(EXAMPLES / "swapped_adapters.py", directory=tmp_path).splitlines()
    assert printed[-4:] == [
        "good success {'quotient': 7.0}",
        "bad failed None",
        "claims: 2 outcomes: 2",
        "notice: division by zero",
    ]


class Echo(TaskHandler):
    def execute(self, task_data: dict[str, Any]) -> Any:
        return task_data


def test_an_installed_sink_is_found_by_its_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages, spool = tmp_path / "packages", tmp_path / "spool"
    spool.mkdir()
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run(
        [*install, "--target", str(packages), str(EXAMPLES / "sink_plugin")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    monkeypatch.syspath_prepend(packages)
    monkeypatch.setenv("SPOOL_DIR", str(spool))

    settings = Settings(amqp_url="memory://", mysql_url="memory://", queue="spooled", idle_timeout=0.5)
    with bootstrap.create_producer(settings=settings) as producer:
        producer.send_task({"data": {"a": 1}, "callback_type": "spool"}, "spooled-1")
    bootstrap.create_worker(Echo(), settings=settings).run()
    (file,) = spool.iterdir()
    assert json.loads(file.read_bytes())["result"] == {"a": 1}


# -- their adapters, as their author tests them -----------------------------------------------------------


class TestLogbookSink(CallbackSenderContract):
    @pytest.fixture(autouse=True)
    def _directory(self, tmp_path: Path) -> None:
        self.directory = tmp_path / "logbooks"
        self.directory.mkdir()

    def sender(self) -> CallbackSender:
        return LogbookSink(self.directory)

    def address(self) -> dict[str, Any]:
        return {"type": "logbook", "data": {"logbook": "book"}}

    def received(self) -> list[Received]:
        lines = map(json.loads, (self.directory / "book.jsonl").read_text().splitlines())
        return [Received(line["id"], line["callback"].encode()) for line in lines]

    def break_receiver(self) -> None:
        self.directory.rename(self.directory.with_name("elsewhere"))

    def mend_receiver(self) -> None:
        self.directory.with_name("elsewhere").rename(self.directory)

    @pytest.mark.parametrize("data", [{}, {"logbook": "../up"}, {"logbook": 5}], ids=str)
    def test_what_no_later_try_can_mend_is_given_up_at_once(self, data: dict[str, Any]) -> None:
        self.address = lambda: {"data": data}  # type: ignore[method-assign]
        with pytest.raises(PermanentCallbackError, match="logbook"):
            self.sender().send(self.callback())


class TestSpoolSink(CallbackSenderContract):
    @pytest.fixture(autouse=True)
    def _directory(self, tmp_path: Path) -> None:
        self.directory = tmp_path / "spool"
        self.directory.mkdir()

    def sender(self) -> CallbackSender:
        return SpoolSink(self.directory)

    def received(self) -> list[Received]:
        files = sorted(self.directory.glob("*.json"))
        return [Received(file.stem.split("-", 1)[1], file.read_bytes()) for file in files]

    def break_receiver(self) -> None:
        self.directory.rename(self.directory.with_name("elsewhere"))

    def mend_receiver(self) -> None:
        self.directory.with_name("elsewhere").rename(self.directory)

    def test_a_missing_directory_is_said_when_the_worker_starts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("SPOOL_DIR", raising=False)
        with pytest.raises(ConfigurationError, match="SPOOL_DIR"):
            SpoolSink.from_environment()


class TestLineNotifier(NotifierContract):
    @pytest.fixture(autouse=True)
    def _file(self, tmp_path: Path) -> None:
        self.file = tmp_path / "somewhere" / "notices.jsonl"
        self.file.parent.mkdir()

    def notifier(self) -> Notifier:
        return LineNotifier(self.file)

    def told(self) -> list[str]:
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        return [str(list(json.loads(line).values())) for line in lines]

    def break_receiver(self) -> None:
        self.file.parent.rmdir()


class TestCountedRepository(TaskRepositoryContract):
    @pytest.fixture
    def repository(self) -> TaskRepository:
        self.clock = FakeClock()
        self.calls: Counter[str] = Counter()
        return counted(MemoryTaskRepository(self.clock), self.calls)

    def let_time_pass(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def test_calls_are_counted(self, repository: TaskRepository) -> None:
        self.insert(repository)
        self.seen(repository)
        self.seen(repository)
        assert self.calls == {"insert_claimed": 1, "read": 2}
