"""The real program in processes of its own: a task's whole life, and every foreseeable trouble without a traceback."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import textwrap
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cli_site import Site
from tests.servers.mariadb import MySqlServer
from tests.servers.rabbitmq import new_queue_name
from tests.waiting import eventually

HANDLERS = """
    from grid_async_task import TaskHandler

    class Doubling(TaskHandler):
        def execute(self, task_data):
            self.report_progress(50, "半分")
            return {"doubled": task_data["number"] * 2}

    doubling = Doubling()
    not_a_handler = object()

    class Demanding(TaskHandler):
        def __init__(self, model):
            self.model = model
"""


@pytest.fixture(params=["servers", "embedded"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    (tmp_path / "team_tasks.py").write_text(textwrap.dedent(HANDLERS), encoding="utf-8")
    if request.param == "servers":
        amqp_url, mysql_url = request.getfixturevalue("amqp_url"), request.getfixturevalue("mysql_url")
        return Site(tmp_path, amqp_url, mysql_url, new_queue_name())
    return embedded(tmp_path)


@pytest.fixture
def embedded_site(tmp_path: Path) -> Site:
    (tmp_path / "team_tasks.py").write_text(textwrap.dedent(HANDLERS), encoding="utf-8")
    return embedded(tmp_path)


def embedded(folder: Path) -> Site:
    url = f"sqlite:///{folder / 'tasks.db'}"
    return Site(folder, url, url, "work")


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def test_a_task_from_migrate_to_its_result(site: Site) -> None:
    site.more = {"IDLE_TIMEOUT": "1.5"}
    migrated = site.program("migrate")
    assert migrated.returncode == 0, migrated.stderr
    sent = site.program("send", '{"data": {"number": 21}}', "--task-id", "任务-1", "--task-type", "doubling")
    assert (sent.returncode, sent.stdout) == (0, "任务-1\n"), sent.stderr

    worked = site.program("worker", "--handler", "team_tasks:Doubling")
    assert worked.returncode == 0, worked.stderr

    shown = site.program("status", "任务-1", "--json")
    assert shown.returncode == 0, shown.stderr
    task = json.loads(shown.stdout)
    assert task["result"] == {"doubled": 42}
    assert (task["status"], task["progress"], task["progress_message"]) == ("success", 100, "半分")
    assert (task["task_type"], task["attempt"], task["queue"]) == ("doubling", 1, site.queue)
    watched = site.program("watch", "任务-1")
    assert (watched.returncode, watched.stdout) == (0, "success\t100%\t半分\nsuccess\n")


def test_no_command_is_a_worker(embedded_site: Site) -> None:
    embedded_site.more = {"IDLE_TIMEOUT": "0.5", "HANDLER": "team_tasks:doubling"}
    assert embedded_site.program("send", "--task-id", "t", "--data", '{"number": 1}').returncode == 0
    worked = embedded_site.program()
    assert worked.returncode == 0, worked.stderr
    assert "success" in embedded_site.program("status", "t").stdout
    worked = embedded_site.program("--queue", "another")
    assert worked.returncode == 0, worked.stderr


def test_a_worker_that_is_told_to_stop_exits_with_0(site: Site) -> None:
    process = site.start("worker", "--handler", "team_tasks:Doubling")
    assert process.stderr is not None
    said: list[str] = []
    for line in process.stderr:
        said.append(line)
        if "worker started" in line:
            break
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, "".join(said) + errors


def test_a_worker_that_is_told_to_stop_while_its_handler_loads_exits_with_0(embedded_site: Site) -> None:
    (embedded_site.directory / "slow.py").write_text(
        "from pathlib import Path\nimport time\nPath('loading').touch()\ntime.sleep(60)\n"
    )
    process = embedded_site.start("worker", "--handler", "slow:Handler")
    eventually((embedded_site.directory / "loading").exists)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")


def test_missing_settings_are_named_and_exit_with_2(tmp_path: Path) -> None:
    site = Site(tmp_path, "", "", "")
    for command in ([], ["worker"], ["check"], ["migrate"]):
        done = site.program(*command)
        assert done.returncode == 2
        assert done.stderr.startswith(
            "Grid异步任务插件配置错误：缺少必需的环境变量配置\n缺少的配置项：amqp_url, rabbitmq_queue, mysql_url\n"
        ), done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        ("nowhere:Handler", "No module named 'nowhere'"),
        ("team_tasks:Missing", "Missing"),
        ("team_tasks:not_a_handler", "subclass of grid_async_task.TaskHandler"),
        ("team_tasks:Demanding", "model"),
        ("just words", "package.module:Name"),
        (None, "--handler MODULE:NAME"),
    ],
)
def test_a_handler_that_can_not_be_run_exits_with_2(embedded_site: Site, handler: str | None, said: str) -> None:
    done = embedded_site.program("worker", *(["--handler", handler] if handler else []))
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_handler_module_that_raises_exits_with_1(embedded_site: Site) -> None:
    (embedded_site.directory / "broken.py").write_text("1 / 0\n")
    done = embedded_site.program("worker", "--handler", "broken:Handler")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr


def test_an_unreachable_database_is_a_sentence(tmp_path: Path) -> None:
    secret = "s3cret"
    nowhere = f"127.0.0.1:{closed_port()}"
    site = Site(tmp_path, f"amqp://u:{secret}@{nowhere}/", f"mysql+pymysql://u:{secret}@{nowhere}/db", "q")
    site.more = {"PUBLISH_TIMEOUT": "1"}
    for command in (["status", "t"], ["list"], ["retry", "t"], ["migrate"], ["requeue"], ["dead", "list"]):
        done = site.program(*command)
        assert done.returncode == 1, done.stderr
        assert "check" in done.stderr
        assert "Traceback" not in done.stderr
        assert secret not in done.stderr + done.stdout


def test_an_unreachable_broker_is_a_sentence(embedded_site: Site) -> None:
    embedded_site.amqp_url = f"amqp://guest:guest@127.0.0.1:{closed_port()}/"
    embedded_site.more = {"PUBLISH_TIMEOUT": "1"}
    done = embedded_site.program("send", "--data", "{}")
    assert done.returncode == 1
    assert "no connection to the broker" in done.stderr
    assert "Traceback" not in done.stderr


def test_refused_logins_exit_with_2(amqp_url: str, mariadb: MySqlServer, tmp_path: Path) -> None:
    wrong_database = mariadb.url("some_db", user="nobody", password="wr0ng")
    wrong_broker = amqp_url.replace("guest:guest", "guest:wr0ng")
    site = Site(tmp_path, wrong_broker, wrong_database, new_queue_name())
    for command in (["status", "t"], ["send", "--data", "{}"], ["worker", "--handler", "tests.handlers:Diary"]):
        done = site.program(*command)
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
        assert "wr0ng" not in done.stderr


def test_a_reader_that_has_seen_enough_is_no_disaster(embedded_site: Site) -> None:
    for number in range(3):
        assert embedded_site.program("send", "--task-id", f"t{number}", "--data", "{}").returncode == 0
    process = embedded_site.start("list", "--json", stdin=subprocess.DEVNULL)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    errors = process.stderr.read()
    process.wait(30)
    process.stderr.close()
    assert "Traceback" not in errors
    assert "Exception ignored" not in errors


def test_a_message_comes_from_the_argument_a_file_standard_input_or_options(embedded_site: Site) -> None:
    (embedded_site.directory / "task.json").write_text('{"task_id": "from-file"}', encoding="utf-8")
    sent = [
        embedded_site.program("send", '{"task_id": "from-argument"}'),
        embedded_site.program("send", "--file", "task.json"),
        embedded_site.program("send", stdin='{"task_id": "from-stdin"}'),
        embedded_site.program("send", "-", "--task-type", "pdf", stdin='{"task_id": "typed"}'),
    ]
    assert [done.stdout for done in sent] == ["from-argument\n", "from-file\n", "from-stdin\n", "typed\n"]
    assert json.loads(embedded_site.program("status", "typed", "--json").stdout)["task_type"] == "pdf"
    for bad in (
        ["[]"],
        ["{"],
        ["--file", "nowhere.json"],
        ["--data", "5"],
        ['{"data": 5}'],
        ["{}", "--file", "task.json"],
    ):
        done = embedded_site.program("send", *bad)
        assert done.returncode == 1, done.stderr
        assert done.stderr.startswith("Error: ")
        assert done.stdout == ""


def test_on_a_terminal_a_task_is_watched_by_a_bar_and_ids_are_never_cut_off(embedded_site: Site) -> None:
    task_id = "a-long-id-" * 12
    assert embedded_site.program("send", "--task-id", task_id, "--data", '{"number": 1}').returncode == 0
    embedded_site.more = {"IDLE_TIMEOUT": "0.5"}
    assert embedded_site.program("worker", "--handler", "team_tasks:Doubling").returncode == 0
    watched = on_a_terminal(embedded_site, "watch", task_id)
    assert "100%" in watched
    assert "━" in watched
    listed = on_a_terminal(embedded_site, "list").splitlines()[1:]
    assert "".join(line.split()[0] for line in listed if line.strip()) == task_id


def on_a_terminal(site: Site, *arguments: str) -> str:
    """What the program prints where standard output is a terminal."""
    ours, theirs = pty.openpty()
    process = site.start(*arguments, stdout=theirs, stdin=subprocess.DEVNULL)
    os.close(theirs)
    printed = b""
    with suppress(OSError):  # how a terminal says that nobody writes any more
        while data := os.read(ours, 65536):
            printed += data
    os.close(ours)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", printed.decode("utf-8"))
