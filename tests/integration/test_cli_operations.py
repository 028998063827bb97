"""What an operator does by the command line, on real servers and in the embedded mode."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog

from grid_async_task import TaskHandler, adapter_choice
from grid_async_task.cli.program import run
from grid_async_task.domain.message import TICKET_FIELD
from tests.cli_site import Site
from tests.servers.http_receiver import HttpReceiver
from tests.servers.rabbitmq import new_queue_name
from tests.waiting import eventually


@pytest.fixture(params=["servers", "embedded"])
def site(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    if request.param == "servers":
        amqp_url, mysql_url = request.getfixturevalue("amqp_url"), request.getfixturevalue("mysql_url")
        site = Site(tmp_path, amqp_url, mysql_url, new_queue_name())
    else:
        url = f"sqlite:///{tmp_path / 'tasks.db'}"
        site = Site(tmp_path, url, url, "work")
    for name, value in site.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return site


@dataclass
class Done:
    code: int
    output: str
    errors: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self.errors
        return json.loads(self.output)


Call = Callable[..., Done]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Iterator[Call]:
    """The program, in this process."""

    def call_it(*arguments: str) -> Done:
        capsys.readouterr()
        code = run(arguments)
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return Done(code, printed.out, printed.err)

    yield call_it
    structlog.reset_defaults()


def message(task_id: str, **fields: Any) -> bytes:
    return json.dumps({"task_id": task_id, **fields}).encode()


def statuses(call: Call) -> dict[str, str]:
    return {task["task_id"]: task["status"] for task in call("list", "--json").json}


# -- asking ---------------------------------------------------------------------------------------


def test_listing_and_filtering(site: Site, call: Call) -> None:
    site.publish(message("good", task_type="pdf", data={"number": 1}), message("bad", data={"fails": True}))
    site.work()
    assert call("send", "--task-id", "waits", "--task-type", "pdf").output == "waits\n"
    assert statuses(call) == {"good": "success", "bad": "failed", "waits": "pending"}
    for arguments, expected in (
        (["--status", "failed"], ["bad"]),
        (["--type", "pdf"], ["waits", "good"]),
        (["--status", "success", "--type", "pdf"], ["good"]),
        (["--queue", site.queue, "--limit", "1"], ["waits"]),
        (["--queue", "another"], []),
    ):
        assert [task["task_id"] for task in call("list", "--json", *arguments).json] == expected
    lines = call("list", "--status", "failed").output.splitlines()
    assert [line.split("\t")[0] for line in lines] == ["ID", "bad"]
    assert "RuntimeError" in lines[1]
    assert call("list", "--status", "finished").code == 2


def test_a_task_is_watched_to_its_end(site: Site, call: Call) -> None:
    for task_id, data in (("good", '{"number": 1}'), ("bad", '{"fails": true}')):
        assert call("send", "--task-id", task_id, "--data", data).code == 0
    watching = [site.start("watch", task_id) for task_id in ("good", "bad")]
    first_lines = [process.stdout.readline() for process in watching if process.stdout is not None]
    assert first_lines == ["pending\t0%\t\n"] * 2
    site.work()
    printed = [process.communicate(timeout=30)[0].splitlines()[-1] for process in watching]
    assert printed == ["success", "failed (RuntimeError: it can't be doubled)"]
    assert [process.returncode for process in watching] == [0, 1]


def test_an_unknown_id_is_a_sentence(site: Site, call: Call) -> None:
    for command in (["status"], ["status", "--json"], ["watch"], ["retry"], ["cancel"], ["callbacks", "redeliver"]):
        done = call(*command, "unknown")
        assert (done.code, done.output) == (1, "")
        assert "no task 'unknown'" in done.errors


def test_who_runs_what(site: Site, call: Call) -> None:
    assert call("workers", "--json").json == []
    begun, may_end = threading.Event(), threading.Event()

    class Slow(TaskHandler):
        def execute(self, task_data: dict[str, Any]) -> Any:
            begun.set()
            may_end.wait(30)

    site.publish(message("slow", task_type="pdf"))
    worker = threading.Thread(target=lambda: site.work(Slow(), lease_seconds=60))
    worker.start()
    try:
        assert begun.wait(30)
        (stint,) = call("workers", "--json").json
        table = call("workers", "--queue", site.queue).output
        assert call("workers", "--queue", "another").output == ""
        assert "asked to stop" in call("cancel", "slow").output
    finally:
        may_end.set()
        worker.join()
    assert (stint["task_id"], stint["task_type"], stint["attempt"]) == ("slow", "pdf", 1)
    assert 0 < stint["lease_left_seconds"] <= 60
    assert stint["worker"] in table


# -- changing -------------------------------------------------------------------------------------


def test_retry_and_cancel_do_what_they_can_and_say_what_they_can_not(site: Site, call: Call) -> None:
    site.publish(message("bad", data={"fails": True}), message("good", data={"number": 1}))
    site.work()
    done = call("retry", "good", "bad")
    assert (done.code, done.output) == (1, "bad: pending\n")
    assert "'good' is success" in done.errors
    done = call("cancel", "bad", "good")
    assert (done.code, done.output) == (1, "bad: cancelled\n")
    assert "'good' has ended already: success" in done.errors
    assert call("status", "bad", "--json").json["error_type"] == "TaskCancelled"
    assert call("retry", "bad").code == 0
    site.work()
    assert call("status", "bad", "--json").json["attempt"] == 5


def test_prune_keeps_what_may_still_be_needed(site: Site, call: Call) -> None:
    site.publish(message("good", data={"number": 1}))
    site.work()
    assert call("prune", "--older-than", "2d").output == "0 tasks deleted\n"
    done = call("prune", "--older-than", "47h", "--yes")
    assert done.code == 1
    assert "at least 2" in done.errors
    assert statuses(call) == {"good": "success"}


def test_what_waits_is_published_again_after_a_purge(site: Site, call: Call) -> None:
    for number in range(3):
        assert call("send", "--task-id", f"t{number}", "--data", '{"number": 1}').code == 0
    site.publish(message("later", data={"fails": True}, max_retry_count=1), message("over", data={"number": 1}))
    site.work(max_retry_count=0, retry_delay=3600)
    for number in (3, 4):
        assert call("send", "--task-id", f"t{number}", "--data", '{"number": 1}').code == 0
    assert len(site.take_all()) == 2
    assert call("requeue").output == f"3 tasks published to {site.queue}\n"
    # the retry is not due yet, and stays out of the way
    assert sorted(json.loads(each.body)["task_id"] for each in site.take_all()) == ["t3", "t4"]
    call("requeue")
    site.work()
    assert statuses(call) == {f"t{number}": "success" for number in range(5)} | {"later": "retrying", "over": "success"}


def test_a_lost_message_is_swept_up(site: Site, call: Call) -> None:
    site.publish(message("bad", data={"fails": True}))
    site.work()
    # as a crash leaves it, in the middle of an operator's retry
    repository = adapter_choice.open_repository(site.settings())
    reading = repository.read("bad")
    assert reading is not None
    assert repository.retry_failed(reading.task)
    repository.close()
    assert call("sweep").output == f"1 messages published to {site.queue}\n"
    (swept,) = site.take_all()
    assert json.loads(swept.body)["task_id"] == "bad"
    assert "was swept within the last 30 s" in call("sweep").output


# -- dead letters ---------------------------------------------------------------------------------

ODD = b"\xff\x00 no JSON \x1b[31m"


def test_dead_letters_are_shown_and_stay(site: Site, call: Call) -> None:
    assert call("dead", "list", "--json").json == []
    site.publish(ODD, message("bad", data=5), content_type="application/json")
    site.work()
    for _ in range(3):
        letters = call("dead", "list", "--json").json
        assert [letter["task_id"] for letter in letters] == [None, "bad"]
    assert [letter["reason"] for letter in letters] == ["not_utf8", "data"]
    assert letters[1]["properties"]["content_type"] == "application/json"
    for name in ("bad", letters[1]["key"]):
        (letter,) = call("dead", "show", name, "--json").json
        assert json.loads(letter["body"]) == {"task_id": "bad", "data": 5}
    shown = call("dead", "show", letters[0]["key"]).output
    assert "not_utf8" in shown
    assert "\x1b" not in shown
    assert "bad" in call("dead", "list").output
    assert call("dead", "show", "nothing").code == 1
    dead = site.take_all(f"{site.queue}.dead")
    assert [each.body for each in dead] == [ODD, message("bad", data=5)]
    assert dead[1].headers["x-grid-reason"] == "data"


def test_a_dead_letter_that_is_shown_very_often_is_not_lost(site: Site, call: Call) -> None:
    """A quorum queue drops a message that was returned too often: 20 times by default, here sooner."""
    dead = f"{site.queue}.dead"
    if not site.amqp_url.startswith("sqlite"):
        declare_quorum(site.amqp_url, dead, {"x-delivery-limit": 11})
    site.publish(message("bad", data=5))
    site.work()
    for _ in range(15):
        # a quorum queue takes a moment to have ready again what was given back
        eventually(lambda: len(call("dead", "list", "--json").json) == 1)
    (letter,) = site.take_all(dead)
    assert (letter.body, letter.headers["x-grid-reason"]) == (message("bad", data=5), "data")


def declare_quorum(amqp_url: str, queue: str, arguments: dict[str, Any]) -> None:
    import pika

    with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
        connection.channel().queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum", **arguments})


def test_a_replayed_message_runs_once_its_trouble_is_over(
    site: Site, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = message("large", data={"number": 21, "filling": "x" * 2000})
    site.publish(body, content_type="application/json")
    site.work(message_max_bytes=1000)
    site.publish(message("small", data={"number": 1}))
    assert statuses(call) == {}
    monkeypatch.setenv("GRID_ASYNC_TASK_MESSAGE_MAX_BYTES", "1000")
    (letter,) = call("dead", "list", "--json").json
    assert "will most likely die again" in call("dead", "replay", letter["key"]).output
    monkeypatch.delenv("GRID_ASYNC_TASK_MESSAGE_MAX_BYTES")
    site.work(message_max_bytes=1000)
    done = call("dead", "replay", "--all")
    assert (done.code, "again" in done.output) == (0, False)
    site.work()
    assert statuses(call) == {"small": "success", "large": "success"}
    assert site.take_all(f"{site.queue}.dead") == []


def test_replay_undoes_the_failure_that_the_dead_message_caused(site: Site, call: Call) -> None:
    site.publish(message("t", callback_type="sms"))  # a sink that this worker does not have
    site.work()
    assert call("status", "t", "--json").json["error_type"] == "ValidationError"
    assert call("dead", "replay", "t").code == 0
    assert call("status", "t").code == 1
    (replayed,) = site.take_all()
    assert replayed.body == message("t", callback_type="sms")
    assert not [name for name in replayed.headers if name.startswith("x-grid")]
    assert call("dead", "list", "--json").json == []


def test_replay_leaves_alone_what_has_run(site: Site, call: Call) -> None:
    site.publish(message("t", data={"number": 1}), message("t", data="bad"), message("u", data="bad"))
    site.work()
    done = call("dead", "replay", "--all")
    assert done.code == 1
    assert "'t' is success" in done.errors
    assert "sent to" in done.output
    assert [letter["task_id"] for letter in call("dead", "list", "--json").json] == ["t"]
    assert statuses(call) == {"t": "success"}
    assert len(site.take_all()) == 1
    assert call("dead", "replay").code == 1


def test_replay_waits_for_a_failure_callback_that_is_due(site: Site, call: Call) -> None:
    with HttpReceiver() as receiver:
        receiver.answer_with([500] * 10)
        site.publish(message("t", data="bad", callback_url=receiver.url))
        site.work()
    done = call("dead", "replay", "t")
    assert done.code == 1
    assert "still due" in done.errors
    assert statuses(call) == {"t": "failed"}
    assert len(call("dead", "list", "--json").json) == 1


# -- callbacks ------------------------------------------------------------------------------------


def test_a_callback_that_was_given_up_is_sent_again(site: Site, call: Call) -> None:
    with HttpReceiver() as receiver:
        receiver.answer_with([500, 200, 200])
        site.publish(message("t", data={"number": 1}, callback_url=receiver.url), message("u", data={"number": 1}))
        site.work(callback_retry_count=0)
        assert [task["task_id"] for task in call("callbacks", "list", "--json").json] == ["t"]
        assert call("callbacks", "list", "--status", "due").output == ""
        assert "exhausted" in call("callbacks", "list").output

        assert call("callbacks", "redeliver", "t").code == 0
        done = call("callbacks", "redeliver", "t", "u")
        assert done.code == 1
        assert "'t' is still due" in done.errors
        assert "'u' did not ask for a callback" in done.errors
        assert [TICKET_FIELD in json.loads(each.body) for each in site.take_all()] == [True]
        site.publish(message("t"))
        site.work(callback_retry_count=0)
        first, second = receiver.wait_for(2)
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])
    assert call("callbacks", "list", "--json").json == []
    assert [task["task_id"] for task in call("callbacks", "list", "--status", "sent", "--json").json] == ["t"]
