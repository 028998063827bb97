"""Many tasks at once by the command line: chosen by a filter, counted, asked about; on real servers and embedded."""

from __future__ import annotations

import json
import os
import pty
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy import make_url

from grid_async_task.cli.program import run
from tests.cli_site import ROOT, Site
from tests.servers.mariadb import MySqlServer
from tests.servers.rabbitmq import new_queue_name

TABLE = "grid_async_task_tasks"


@dataclass
class Done:
    code: int
    output: str
    errors: str

    @property
    def json(self) -> Any:
        return json.loads(self.output)


@dataclass
class Operator:
    site: Site
    capsys: pytest.CaptureFixture[str]
    execute: Callable[[str], None]

    def __call__(self, *arguments: str) -> Done:
        self.capsys.readouterr()
        code = run(arguments)
        printed = self.capsys.readouterr()
        assert "Traceback" not in printed.err
        return Done(code, printed.out, printed.err)

    def age(self, hours: float, *task_ids: str) -> None:
        """Make tasks look as if all that happened to them had been so long ago."""
        moment = datetime.now(timezone.utc) - timedelta(hours=hours)
        ids = ", ".join(f"'{task_id}'" for task_id in task_ids)
        text = moment.strftime("%Y-%m-%d %H:%M:%S.%f")
        self.execute(
            f"UPDATE {TABLE} SET created_at = '{text}',"
            f" completed_at = CASE WHEN completed_at IS NULL THEN NULL ELSE '{text}' END WHERE id IN ({ids})"
        )

    def listed(self, *arguments: str) -> set[str]:
        return {task["task_id"] for task in self("list", "--json", *arguments).json}


@pytest.fixture(params=["servers", "embedded"])
def operator(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Operator]:
    if request.param == "servers":
        mysql_url = request.getfixturevalue("mysql_url")
        site = Site(tmp_path, request.getfixturevalue("amqp_url"), mysql_url, new_queue_name())
        server: MySqlServer = request.getfixturevalue("mariadb")

        def execute(statement: str) -> None:
            server.execute(statement, make_url(mysql_url).database)
    else:
        url = f"sqlite:///{tmp_path / 'tasks.db'}"
        site = Site(tmp_path, url, url, "work")

        def execute(statement: str) -> None:
            with closing(sqlite3.connect(tmp_path / "tasks.db", timeout=10)) as connection, connection:
                connection.execute(statement)

    for name, value in site.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    yield Operator(site, capsys, execute)
    structlog.reset_defaults()


def message(task_id: str, **fields: Any) -> bytes:
    return json.dumps({"task_id": task_id, **fields}).encode()


def some_failed(operator: Operator) -> None:
    """`a-1` and `a-2` of type pdf and `b-1` have failed, `a-1` three hours ago; `a-good` has not."""
    operator.site.publish(
        message("a-1", task_type="pdf", data={"fails": True}),
        message("a-2", task_type="pdf", data={"fails": True}),
        message("b-1", data={"fails": True}),
        message("a-good", task_type="pdf", data={"number": 1}),
    )
    operator.site.work()
    operator.age(3, "a-1")


def test_a_list_of_several_states_an_age_and_a_prefix(operator: Operator) -> None:
    some_failed(operator)
    assert operator("send", "--task-id", "waits").code == 0
    for arguments, expected in (
        (["--status", "failed", "--status", "pending"], {"a-1", "a-2", "b-1", "waits"}),
        (["--older-than", "2h"], {"a-1"}),
        (["--newer-than", "2h", "--status", "failed"], {"a-2", "b-1"}),
        (["--older-than", "2h", "--newer-than", "1d12h"], {"a-1"}),
        (["--older-than", "4h"], set()),
        (["--id-prefix", "a-", "--type", "pdf"], {"a-1", "a-2", "a-good"}),
        (["--id-prefix", "A-"], set()),
    ):
        assert operator.listed(*arguments) == expected
    wrong = operator("list", "--older-than", "soon")
    assert wrong.code == 2
    assert "no duration" in wrong.errors


def test_retry_by_a_filter_is_shown_first_and_then_done(operator: Operator) -> None:
    some_failed(operator)
    chosen = ["--id-prefix", "a-", "--newer-than", "2h"]
    shown = operator("retry", *chosen, "--dry-run")
    assert (shown.code, shown.output) == (0, "a-2: failed, would be retried\n1 task would be retried, 0 not\n")
    assert operator("retry", *chosen, "--dry-run", "--json").json == [
        {"id": "a-2", "would_be_done": True, "text": "a-2: failed, would be retried"}
    ]
    assert operator.listed("--status", "pending") == set()
    assert operator("retry", *chosen, "--yes").output == "a-2: pending\n1 task retried, 0 not\n"
    assert operator.listed("--status", "pending") == {"a-2"}
    done = operator("retry", "--all", "--yes", "--json")
    assert sorted(each["id"] for each in done.json if each["done"]) == ["a-1", "b-1"]
    operator.site.work()
    assert operator("status", "b-1", "--json").json["attempt"] == 3


def test_nothing_is_done_to_many_without_a_yes(operator: Operator) -> None:
    some_failed(operator)
    for command in (["retry", "--type", "pdf"], ["prune"], ["cancel", "--all"]):
        operator.age(24 * 40, "b-1")
        assert operator("send", "--task-id", "waits").code == 0
        done = operator(*command)
        assert (done.code, done.output) == (1, "")
        assert "without a terminal: say --yes" in done.errors
    assert operator.listed("--status", "failed") == {"a-1", "a-2", "b-1"}
    assert operator.listed("--status", "pending") == {"waits"}


def test_which_tasks_has_to_be_said_in_one_way(operator: Operator) -> None:
    for arguments in ([], ["a", "--type", "pdf"], ["a", "--all"], ["--all", "--type", "pdf"]):
        for command in ("retry", "cancel"):
            done = operator(command, *arguments, "--yes")
            assert done.code == 1
            assert "say which tasks" in done.errors
    assert "can't be cancelled" in operator("cancel", "--status", "failed", "--yes").errors


def test_an_empty_filter_is_a_mistake(operator: Operator) -> None:
    assert operator("send", "--task-id", "t").code == 0
    for option in ("--id-prefix", "--type", "--queue"):
        done = operator("cancel", option, "", "--yes")
        assert (done.code, done.output) == (2, "")
        assert "it is empty" in done.errors
    assert operator.listed("--status", "pending") == {"t"}


def test_an_age_of_more_than_a_lifetime_is_a_mistake(operator: Operator) -> None:
    for command in ("list", "prune"):
        done = operator(command, "--older-than", "9999999999999d")
        assert (done.code, done.output) == (2, "")
        assert "100 years at most" in done.errors


def test_one_that_can_not_be_done_keeps_none_of_the_others_from_it(operator: Operator) -> None:
    for task_id in ("z-1", "z-2"):
        assert operator("send", "--task-id", task_id).code == 0
    done = operator("cancel", "z-1", "\udcff", "z-2", "--json")
    assert (done.code, [each["done"] for each in done.json]) == (1, [True, False, True])
    assert operator.listed("--status", "failed") == {"z-1", "z-2"}


def test_cancel_by_a_filter(operator: Operator) -> None:
    for number in range(3):
        assert operator("send", "--task-id", f"t{number}", "--task-type", "pdf", "--data", '{"number": 1}').code == 0
    assert operator("send", "--task-id", "other", "--data", '{"number": 1}').code == 0
    operator.age(3, "t0", "t1")
    chosen = ["--type", "pdf", "--status", "pending", "--older-than", "2h"]
    assert "2 tasks would be cancelled" in operator("cancel", *chosen, "--dry-run").output
    assert "2 tasks cancelled" in operator("cancel", *chosen, "--yes").output
    operator.site.work()
    assert operator.listed("--status", "failed") == {"t0", "t1"}
    assert operator.listed("--status", "success") == {"t2", "other"}
    assert operator("status", "t0", "--json").json["error_type"] == "TaskCancelled"
    assert operator("cancel", "--all", "--yes").output == "0 tasks cancelled, 0 not\n"


def test_a_dry_run_by_id_says_what_would_be_refused(operator: Operator) -> None:
    some_failed(operator)
    done = operator("retry", "a-1", "a-good", "nothing", "--dry-run")
    assert (done.code, done.output) == (1, "a-1: failed, would be retried\n1 task would be retried, 2 not\n")
    assert "only what has failed can be retried" in done.errors
    assert "no task 'nothing'" in done.errors
    done = operator("cancel", "a-1", "--dry-run", "--json")
    assert (done.code, [each["would_be_done"] for each in done.json]) == (1, [False])


def test_prune_deletes_what_ended_long_ago_in_one_way(operator: Operator) -> None:
    some_failed(operator)
    operator.age(24 * 31, "a-good", "a-1")
    operator.age(24 * 3, "a-2")
    assert operator("prune", "--dry-run").output == "2 tasks would be deleted\n"
    assert operator("prune", "--older-than", "60h", "--dry-run", "--json").json == {"would_be_deleted": 3}
    assert operator("prune", "--older-than", "30d", "--status", "success", "--yes").output == "1 tasks deleted\n"
    assert operator.listed() == {"a-1", "a-2", "b-1"}
    assert operator("prune", "--older-than", "30d", "--yes", "--json").json == {"deleted": 1}
    assert operator.listed() == {"a-2", "b-1"}
    refused = operator("prune", "--status", "running", "--yes")
    assert (refused.code, "has not ended" in refused.errors) == (1, True)


def test_a_dead_letter_is_dropped_for_good(operator: Operator) -> None:
    operator.site.publish(b"bad", message("t", data=5), b"worse")
    operator.site.work()
    refused = operator("dead", "drop", "t")
    assert (refused.code, "without a terminal: say --yes" in refused.errors) == (1, True)
    (key,) = [each["key"] for each in operator("dead", "list", "--json").json if each["task_id"] == "t"]
    assert operator("dead", "drop", "t", "--yes").output == f"{key}: deleted\n"
    bodies = [each["body"] for each in operator("dead", "list", "--json").json]
    assert bodies == ["bad", "worse"]
    assert operator("dead", "drop", key, "--yes").code == 1
    assert operator("dead", "drop", "--yes").code == 1
    assert [each["done"] for each in operator("dead", "drop", "--all", "--yes", "--json").json] == [True, True]
    assert operator("dead", "list", "--json").json == []
    assert operator.listed("--status", "failed") == {"t"}


@pytest.mark.parametrize(("answer", "left"), [(b"n\n", {"t", "t-later"}), (b"y\n", {"t-later"})])
def test_on_a_terminal_it_is_asked_and_done_with_what_was_asked_about(
    tmp_path: Path, answer: bytes, left: set[str]
) -> None:
    url = f"sqlite:///{tmp_path / 'tasks.db'}"
    site = Site(tmp_path, url, url, "work")
    assert site.program("send", "--task-id", "t").returncode == 0
    ours, terminal = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **site.variables}
    command = [sys.executable, "-m", "grid_async_task.cli", "cancel", "--id-prefix", "t"]
    with subprocess.Popen(
        command,
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        cwd=tmp_path,
    ) as asked:
        assert asked.stderr is not None
        question = b""
        while b"[y/N]" not in question and (read := asked.stderr.read1()):  # type: ignore[attr-defined]
            question += read
        assert site.program("send", "--task-id", "t-later").returncode == 0
        os.write(ours, answer)
        asked.communicate(timeout=60)
    os.close(ours)
    os.close(terminal)
    assert b"Shall 1 task be cancelled? [y/N]" in question
    assert asked.returncode == (0 if answer == b"y\n" else 1)
    listed = json.loads(site.program("list", "--status", "pending", "--json").stdout)
    assert {task["task_id"] for task in listed} == left
