"""Logs of real processes: what they write to standard error and to the file."""

from __future__ import annotations

import json
import logging
import os
import pty
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from grid_async_task import Settings, TaskHandler, bootstrap
from grid_async_task.adapters.embedded import EmbeddedMessagePublisher
from grid_async_task.ports import OutgoingMessage
from tests.servers.http_receiver import HttpReceiver
from tests.waiting import eventually
from tests.worker_process import WorkerProcess

ROOT = Path(__file__).parent.parent.parent
PASSWORD = "p@ss:w/ord#%"
ENCODED = "p%40ss%3Aw%2Ford%23%25"

#: a process that logs in both ways
LOGS_BOTH_WAYS = """
import logging, structlog
from grid_async_task import Settings
from grid_async_task.logs import set_up_logging
set_up_logging(Settings.from_environment())
log = structlog.get_logger("front")
log.debug("quiet")
log.info("来自 structlog", count=1)
logging.getLogger("back").debug("quiet %s", "too")
logging.getLogger("back").warning("来自 %s", "logging", extra={"count": 2})
try:
    1 / 0
except ZeroDivisionError:
    log.exception("front failed")
    logging.exception("back failed")
"""


def run(program: str, directory: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", program],
        env=environment_of(directory, **environment),
        capture_output=True,
        cwd=directory,
        timeout=60,
        check=True,
    )


def environment_of(directory: Path, **environment: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GRID_ASYNC_TASK_")}
    return {**kept, "PYTHONPATH": str(ROOT), "GRID_ASYNC_TASK_LOG_DIR": str(directory / "logs"), **environment}


def lines_of(directory: Path) -> list[dict[str, Any]]:
    """The lines of all log files, each of which has to be JSON."""
    files = sorted(directory.glob("task_*.log"))
    return [json.loads(line) for file in files for line in file.read_bytes().splitlines()]


# -- one process ------------------------------------------------------------------------------------------


def test_standard_error_and_the_file_have_the_same_json_lines_from_both_ways_of_logging(tmp_path: Path) -> None:
    ended = run(LOGS_BOTH_WAYS, tmp_path, PYTHONIOENCODING="ascii")
    lines = lines_of(tmp_path / "logs")
    assert [json.loads(line) for line in ended.stderr.splitlines()] == lines
    assert ended.stdout == b""
    shown = [(line["level"], line["event"], line["logger"], line.get("count")) for line in lines]
    assert shown == [
        ("info", "来自 structlog", "front", 1),
        ("warning", "来自 logging", "back", 2),
        ("error", "front failed", "front", None),
        ("error", "back failed", "root", None),
    ]
    for line in lines[2:]:
        assert line["exception"].startswith("Traceback (most recent call last):\n")
        assert line["exception"].endswith("ZeroDivisionError: division by zero")
    assert "来自".encode() in ended.stderr
    assert all(line["timestamp"].endswith("Z") for line in lines)


@pytest.mark.parametrize("level", ["debug", "Debug", "DEBUG", " warning ", "ERROR", "critical"])
def test_the_level_holds_for_both_ways_whatever_its_case(tmp_path: Path, level: str) -> None:
    run(LOGS_BOTH_WAYS, tmp_path, GRID_ASYNC_TASK_LOG_LEVEL=level)
    expected = {"DEBUG": 6, "WARNING": 3, "ERROR": 2, "CRITICAL": 0}[level.strip().upper()]
    assert len(lines_of(tmp_path / "logs")) == expected


def test_text_is_for_reading(tmp_path: Path) -> None:
    text = run(LOGS_BOTH_WAYS, tmp_path, GRID_ASYNC_TASK_LOG_FORMAT="text").stderr.decode()
    first = text.splitlines()[0]
    assert "[info     ] 来自 structlog" in first
    assert "count=1" in first
    assert "\nZeroDivisionError: division by zero\n" in text
    assert "\x1b" not in text
    assert len(lines_of(tmp_path / "logs")) == 4  # the file has JSON all the same


@pytest.mark.parametrize(("log_format", "is_json"), [(None, False), ("json", True)])
def test_a_terminal_gets_text_unless_json_is_asked_for(tmp_path: Path, log_format: str | None, is_json: bool) -> None:
    ours, theirs = pty.openpty()
    given = {"GRID_ASYNC_TASK_LOG_FORMAT": log_format} if log_format else {}
    process = subprocess.Popen(
        [sys.executable, "-c", LOGS_BOTH_WAYS], env=environment_of(tmp_path, **given), stderr=theirs, cwd=tmp_path
    )
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 4096):
            shown += piece
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    assert process.wait(60) == 0
    assert shown.startswith(b'{"timestamp"') is is_json
    assert (b"\x1b[" in shown) is not is_json


def test_an_unwritable_folder_is_one_warning_and_no_crash(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("no folder")
    lines = [json.loads(line) for line in run(LOGS_BOTH_WAYS, tmp_path).stderr.splitlines()]
    assert [line["event"] for line in lines if "log file" in line["event"]] == [
        "the log file can't be written, lines go to standard error only"
    ]
    assert len(lines) == 5


def test_an_application_that_has_configured_structlog_keeps_it(tmp_path: Path) -> None:
    own = "import structlog, sys\nstructlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stdout))\n"
    ended = run(own + LOGS_BOTH_WAYS, tmp_path)
    assert "来自 structlog" in ended.stdout.decode()
    assert not (tmp_path / "logs").exists()


def test_an_application_that_has_configured_logging_gets_our_lines_its_own_way(tmp_path: Path) -> None:
    own = "import logging\nlogging.basicConfig(format='OWN %(levelname)s %(message)s', level='WARNING')\n"
    ours = LOGS_BOTH_WAYS.replace('get_logger("front")', 'get_logger("grid_async_task.front")')
    shown = run(own + ours, tmp_path).stderr.decode().splitlines()
    assert shown[:2] == ["OWN INFO 来自 structlog count=1", "OWN WARNING 来自 logging"]
    assert shown[2].startswith("OWN ERROR front failed exception=")
    assert [line["event"] for line in lines_of(tmp_path / "logs")][:2] == ["来自 structlog", "来自 logging"]


def test_the_level_holds_for_the_file_also_where_the_application_logs_more(tmp_path: Path) -> None:
    own = "import logging\nlogging.basicConfig(level='DEBUG')\n"
    assert b"quiet too" in run(own + LOGS_BOTH_WAYS, tmp_path).stderr
    assert len(lines_of(tmp_path / "logs")) == 4


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_time_limit_that_strikes_while_the_task_logs_reaches_the_task(tmp_path: Path, log_format: str) -> None:
    program = """
import logging, structlog
from grid_async_task import Settings
from grid_async_task.domain.errors import TimeoutError
from grid_async_task.logs import set_up_logging
set_up_logging(Settings.from_environment())
class Slow:
    def __str__(self):
        raise TimeoutError("the attempt took longer than its limit")
    __repr__ = __str__
for way in (lambda: logging.error(Slow()), lambda: structlog.get_logger().info("x", slow=Slow())):
    try:
        way()
    except TimeoutError:
        print("reached")
"""
    ended = run(program, tmp_path, GRID_ASYNC_TASK_LOG_FORMAT=log_format)
    assert ended.stdout.split() == [b"reached", b"reached"]
    assert ended.stderr == b""


def test_a_line_whose_arguments_do_not_fit_is_not_lost(tmp_path: Path) -> None:
    program = LOGS_BOTH_WAYS.replace('"来自 %s", "logging",', '"来自 %s", "logging", "and more",')
    run(program, tmp_path)
    assert lines_of(tmp_path / "logs")[1]["event"] == "'来自 %s' ('logging', 'and more')"


def test_a_second_set_up_changes_nothing_but_masks_its_secrets_too(tmp_path: Path) -> None:
    program = f"""
import structlog
from grid_async_task import Settings
from grid_async_task.logs import set_up_logging
for password in ("first-pw", {ENCODED!r}):
    set_up_logging(Settings(mysql_url=f"mysql://u:{{password}}@h/db", log_dir="logs"))
structlog.get_logger().info("first-pw and {PASSWORD}")
"""
    lines = run(program, tmp_path).stderr.splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["*** and ***"]


# -- several processes ------------------------------------------------------------------------------------


def test_processes_that_rotate_one_file_at_once_lose_no_line_and_tear_none(tmp_path: Path) -> None:
    processes, count = 5, 1500
    program = """
import sys, structlog, logging
from grid_async_task import Settings
from grid_async_task.logs import set_up_logging
set_up_logging(Settings.from_environment())
sys.stdin.read()  # until all are ready
for number in range(int(sys.argv[2])):
    log = structlog.get_logger("a") if number % 2 else logging.getLogger("b")
    log.info(f"{sys.argv[1]}-{number} " + "x" * (number % 300))
"""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(each), str(count)],
            env=environment_of(tmp_path, GRID_ASYNC_TASK_LOG_MAX_SIZE="20 KB"),
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=tmp_path,
        )
        for each in range(processes)
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.close()
    assert [process.wait(60) for process in started] == [0] * processes
    found = Counter(line["event"].split()[0] for line in lines_of(tmp_path / "logs"))
    assert found == Counter(f"{each}-{number}" for each in range(processes) for number in range(count))
    files = list((tmp_path / "logs").glob("task_*.log"))
    assert len(files) > 50
    # each process may add the line that it was about to write when the file got full
    assert max(file.stat().st_size for file in files) < 20_000 + processes * 500


# -- a running worker -------------------------------------------------------------------------------------


class Talkative(TaskHandler):
    """Logs in both ways, and fails the first time."""

    def execute(self, task_data: dict[str, Any]) -> Any:
        logging.getLogger("of.the.handler").info("from %s", "logging")
        structlog.get_logger("of.the.handler").info("from structlog", answer=42)
        self.report_progress(50, "halfway")
        if self.attempt == 1:
            raise RuntimeError(f"no login with {PASSWORD}")
        return {}


class Site:
    """Workers without servers, which have a secret nonetheless."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        url = f"sqlite:///{directory / 'grid.db'}"
        self.settings: dict[str, Any] = {"amqp_url": url, "queue": "work", "mysql_url": url, "feishu_secret": PASSWORD}
        self.producer = bootstrap.create_producer(settings=Settings(**self.settings))

    def run_task(self, until: str, handler: str = "Talkative", *, log_level: str = "info", **message: Any) -> str:
        """Run one task until a line of the worker says so, and stop it; what it wrote to standard error."""
        self.producer.send_task({"task_id": "t", **message})
        module = "tests.integration.test_logs"
        with WorkerProcess(
            self.directory, f"{module}:{handler}", log_level=log_level, retry_delay=0.1, **self.settings
        ) as worker:
            worker.wait_for_log(until)
            worker.terminate()
            assert worker.ended() == 0
            return worker.log()

    def lines(self) -> list[dict[str, Any]]:
        return lines_of(self.directory)

    def close(self) -> None:
        self.producer.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.close()


def test_every_line_of_a_running_task_says_which(site: Site) -> None:
    site.run_task("task succeeded", task_type="report", max_retry_count=1)
    lines = site.lines()
    for attempt in (1, 2):
        of_attempt = [line for line in lines if line.get("attempt") == attempt]
        assert [line["event"] for line in of_attempt] == [
            "task claimed",
            "from logging",
            "from structlog",
            "attempt failed" if attempt == 1 else "task succeeded",
        ]
        assert {(line["task_id"], line["task_type"]) for line in of_attempt} == {("t", "report")}
        assert len({line["worker"] for line in of_attempt}) == 1
        assert all(line["worker"] for line in of_attempt)
    assert "task_id" not in lines[-1]  # worker ended: the context ends with the attempt


def test_a_failed_attempt_shows_its_traceback_and_no_secret(site: Site) -> None:
    stderr = site.run_task("task succeeded", max_retry_count=1)
    (failed,) = [line for line in site.lines() if line["event"] == "attempt failed"]
    assert failed["retry_in_s"] == pytest.approx(0.1)
    assert failed["error"] == "no login with ***"
    assert "in execute\n" in failed["exception"]
    assert failed["exception"].endswith("RuntimeError: no login with ***\n")
    everything = stderr + "".join(path.read_text() for path in site.directory.glob("task_*.log"))
    assert PASSWORD not in everything


def test_a_task_that_failed_for_good_shows_its_traceback(site: Site) -> None:
    site.run_task("task failed")
    (failed,) = [line for line in site.lines() if line["event"] == "task failed"]
    assert (failed["level"], failed["task_id"], failed["error_type"]) == ("error", "t", "RuntimeError")
    assert failed["exception"].endswith("RuntimeError: no login with ***\n")


class Plain(TaskHandler):
    def execute(self, task_data: dict[str, Any]) -> Any:
        self.report_progress(50, "halfway")
        if log := task_data.get("wait_for_progress_in"):
            eventually(lambda: "halfway" in Path(log).read_text())
        return {}


class WithThreads(TaskHandler):
    def execute(self, task_data: dict[str, Any]) -> Any:
        thread = threading.Thread(target=lambda: logging.getLogger("a.team").warning("from another thread"))
        thread.start()
        thread.join()
        return {}


def test_a_task_costs_three_lines_at_info(site: Site) -> None:
    site.run_task("task succeeded", "Plain")
    events = [line["event"] for line in site.lines()]
    assert events[events.index("worker started") + 1 : events.index("stopping")] == [
        "message received",
        "task claimed",
        "task succeeded",
    ]


def test_each_step_makes_a_line_at_debug(site: Site) -> None:
    with HttpReceiver() as receiver:
        site.run_task(
            "callback sent",
            "Plain",
            log_level="debug",
            data={"wait_for_progress_in": str(site.directory / "worker-0.log")},
            callback_url=receiver.url,
        )
    levels = {line["event"]: line["level"] for line in site.lines() if line["logger"].startswith("grid_async_task")}
    assert levels["message received"] == "info"
    assert levels["task claimed"] == "info"
    assert levels["progress"] == "debug"
    assert levels["task succeeded"] == "info"
    assert levels["callback sent"] == "info"


def test_a_dead_letter_makes_a_line(site: Site) -> None:
    publisher = EmbeddedMessagePublisher(site.settings["amqp_url"])
    publisher.declare("work")
    publisher.publish(OutgoingMessage("work", b"no JSON"))
    publisher.close()
    site.run_task("task succeeded", "Plain")
    (dead,) = [line for line in site.lines() if line["event"] == "message is dead"]
    assert (dead["level"], dead["dead_letter_queue"], dead["reason"]) == ("warning", "work.dead", "not_json")


def test_lines_of_a_handlers_own_threads_name_its_task(site: Site) -> None:
    site.run_task("task succeeded", "WithThreads")
    (line,) = [line for line in site.lines() if line["event"] == "from another thread"]
    assert (line["task_id"], line["attempt"], line["task_type"]) == ("t", 1, "default")
