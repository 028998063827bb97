"""The demo as a newcomer meets it: without a terminal, on one, and interrupted. Nothing may be left of it."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "grid_async_task.demo"]
ROOT = Path(__file__).parent.parent.parent
#: seconds for the whole run; a busy machine gets twice as long as a quiet one
TIME_LIMIT_S = 2 * 25.0


@dataclass(frozen=True)
class Site:
    """A user's folder, with settings of his own that would spoil the demo if it read them."""

    folder: Path

    def __post_init__(self) -> None:
        self.temporary.mkdir()
        (self.folder / ".env").write_text("GRID_ASYNC_TASK_CALLBACK_ALLOWED_HOSTS=nobody.example\n")

    @property
    def temporary(self) -> Path:
        return self.folder / "temporary"

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            **os.environ,
            "TMPDIR": str(self.temporary),
            "PYTHONPATH": str(ROOT),
            "GRID_ASYNC_TASK_AMQP_URL": "amqp://guest:guest@localhost:1/",
            "GRID_ASYNC_TASK_MAX_RETRY_COUNT": "no number",
            "MYSQL_HOST": "nowhere.example",
            "HTTP_PROXY": "http://127.0.0.1:1",
            "TERM": "xterm",
            "COLUMNS": "80",
        }

    def processes(self) -> list[int]:
        """Those that work in its temporary folder: the demo's workers."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                folder = os.readlink(process / "cwd")
            except OSError:  # ended meanwhile, or somebody else's
                continue
            if folder.startswith(str(self.temporary)):
                found.append(int(process.name))
        return found

    def assert_nothing_is_left(self) -> None:
        assert list(self.temporary.iterdir()) == []
        assert self.processes() == []
        assert sorted(path.name for path in self.folder.iterdir()) == [".env", "temporary"]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


# -- without a terminal ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of one run, whose end is checked here."""
    site = Site(tmp_path_factory.mktemp("demo"))
    began = time.monotonic()
    done = subprocess.run(COMMAND, env=site.environment, cwd=site.folder, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    assert time.monotonic() - began < TIME_LIMIT_S
    assert done.stderr == ""
    site.assert_nothing_is_left()
    return done.stdout


def rows_of(output: str) -> dict[str, list[str]]:
    """The table's cells, by task id."""
    lines = [line for line in output.splitlines() if line.startswith("|") and line.count("|") == 8]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    return {row[0]: row for row in rows}


@pytest.mark.parametrize(
    ("expected", "outcome"),
    [
        (["big-archive", "archive", "success", "2", "0", "received: success"], r"files = 10, .*began_at_file = [2-9]"),
        (["endless-training", "train", "failed", "1", "0", "received: failed"], r"TaskCancelled: "),
        (["flaky-upload", "upload", "success", "2", "1", "received: success"], r"url = https://"),
        (["broken-document", "convert", "failed", "2", "1", "received: failed"], r"RetryExhausted \(ValueError\): "),
        (["monthly-report", "report", "success", "1", "0", "received: success"], r"pages = 4"),
        (["yearly-report", "report", "success", "1", "0", "received: success"], r"pages = 12"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_the_table_shows_each_task(output: str, expected: list[str], outcome: str) -> None:
    row = rows_of(output)[expected[0]]
    assert [*row[:5], row[6]] == expected
    assert re.match(outcome, row[5])


@pytest.mark.parametrize(
    ("task_id", "states"),
    [
        ("big-archive", ["pending", "attempt 1", "killed with SIGKILL", "attempt 2: taken over", "success: "]),
        ("endless-training", ["pending", "attempt 1", "cancel requested", "failed: TaskCancelled"]),
        ("flaky-upload", ["pending", "attempt 1", "retrying: ConnectionError", "attempt 2", "success: "]),
        ("broken-document", ["pending", "attempt 1", "retrying: ValueError", "attempt 2", "failed: RetryExhausted"]),
    ],
)
def test_the_history_tells_what_became_of_a_task(output: str, task_id: str, states: list[str]) -> None:
    histories = output.partition("The history of each task")[2]
    found = re.search(rf"^{task_id}: .*\n((?: .*\n)+)", histories, re.MULTILINE)
    assert found is not None
    lines = found.group(1).splitlines()
    # in this order; who looks only now and then may miss one that passes quickly
    left = iter(states)
    assert all(any(state in line for state in left) for line in lines), found.group(1)
    assert states[-1] in lines[-1]
    assert len(lines) >= len(states) - 1
    for state in states:
        assert state == "pending" or re.fullmatch(r"attempt \d", state) or state in found.group(1)


def test_the_card_for_feishu_is_shown(output: str) -> None:
    assert output.count("the card that Feishu was sent") == 1
    card = output.partition("the card that Feishu was sent")[2]
    assert "task id: broken-document" in card
    assert "ValueError: broken.docx is not a document" in card


def test_progress_comes_as_plain_lines(output: str) -> None:
    assert re.search(r"monthly-report +\d+ %, page \d of 4", output)
    assert "\x1b" not in output


# -- on a terminal --------------------------------------------------------------------------------


class Terminal:
    """The demo on a terminal of its own, as the leader of a session of its own."""

    def __init__(self, site: Site) -> None:
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            COMMAND,
            env=site.environment,
            cwd=site.folder,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self.output = ""

    def read_until(self, text: str, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while text not in self.output:
            assert time.monotonic() < deadline, self.output
            try:
                self.output += os.read(self._master, 65536).decode("utf-8", "replace")
            except OSError:  # all who wrote to it have ended
                raise AssertionError(f"it ended without {text!r}:\n{self.output}") from None

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self._master)


@pytest.fixture
def terminal(site: Site) -> Iterator[Terminal]:
    with Terminal(site) as terminal:
        yield terminal


def test_a_terminal_shows_bars(site: Site, terminal: Terminal) -> None:
    terminal.read_until("All of it came true", TIME_LIMIT_S)
    assert terminal.process.wait(10) == 0
    assert "\x1b[" in terminal.output
    assert "━━━" in terminal.output
    assert re.search(r"page \d of 4", terminal.output)
    site.assert_nothing_is_left()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_it_and_its_workers_at_once(site: Site, terminal: Terminal, number: signal.Signals) -> None:
    terminal.read_until("of 10", 25)
    assert len(site.processes()) == 3
    # as a terminal does on Ctrl-C: to all processes in the foreground; and twice, by an impatient person
    os.killpg(terminal.process.pid, number)
    os.killpg(terminal.process.pid, number)
    terminal.read_until("interrupted, and tidied up", 15)
    assert terminal.process.wait(10) == 130
    assert "Traceback" not in terminal.output
    site.assert_nothing_is_left()
