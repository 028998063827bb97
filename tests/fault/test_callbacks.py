"""Callbacks and notices of real workers that are killed, and to receivers that are slow, silent or gone (SPEC 5, 7)."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path

import pytest
from sqlalchemy import make_url
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from grid_async_task import Task
from grid_async_task.application.callbacks import TRIES_AT_ONCE
from grid_async_task.domain.task import CallbackStatus, TaskStatus
from tests.servers.feishu import HOOK, FeishuServer, RealClock
from tests.servers.http_receiver import Answer, HttpReceiver, Request
from tests.servers.mariadb import MySqlServer
from tests.waiting import eventually
from tests.worker_site import Site, open_site

SECRETS = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")
#: where the receivers of the tests listen too, under another name
ANOTHER_HOST = "localhost"


@pytest.fixture
def site(tmp_path: Path, amqp_url: str, mysql_url: str) -> Iterator[Site]:
    with open_site(tmp_path, amqp_url, mysql_url) as site:
        yield site


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with HttpReceiver() as receiver:
        yield receiver


def task_of(site: Site, task_id: str) -> Task:
    task = site.client.get_task(task_id)
    assert task is not None
    return task


def wait_for_callback(site: Site, task_id: str, status: CallbackStatus) -> Task:
    try:
        eventually(lambda: callback_status(site, task_id) is status, 60, f"callback of {task_id} is {status}")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{[worker.log() for worker in site.workers]}") from error
    return task_of(site, task_id)


def callback_status(site: Site, task_id: str) -> CallbackStatus | None:
    task = site.client.get_task(task_id)
    return task.callback_status if task else None


def ids_of(requests: list[Request]) -> list[str]:
    return [json.loads(request.body)["task_id"] for request in requests]


# -- crashes --------------------------------------------------------------------------------------------


def test_a_worker_killed_between_the_outcome_and_its_callback(site: Site, receiver: HttpReceiver) -> None:
    site.publish(callback_url=receiver.url)
    first = site.worker("tests.callback_handlers:KilledAfterTheCommit")
    assert first.ended() == -9
    task = site.task()
    assert (task.status, task.callback_status, task.callback_attempts) == (TaskStatus.SUCCESS, CallbackStatus.DUE, 0)
    assert receiver.requests == []
    site.worker()
    task = wait_for_callback(site, "t", CallbackStatus.SENT)
    assert (task.attempt, task.crash_count, task.callback_attempts) == (1, 0, 1)
    assert ids_of(receiver.requests) == ["t"]
    assert site.starts() == ["start t 1"]


def test_a_worker_killed_during_the_try(
    site: Site, receiver: HttpReceiver, mariadb: MySqlServer, mysql_url: str
) -> None:
    never = threading.Event()
    receiver.answer_with([Answer(after=never)])
    site.publish(callback_url=receiver.url, callback_data={"order": 7})
    first = site.worker(callback_secret=",".join(SECRETS))
    receiver.wait_for(1, 60)
    first.kill()
    # another of the same: the first may have been put forward and acknowledged by now
    site.publish(callback_url=receiver.url, callback_data={"order": 7})
    task = site.task()
    assert (task.callback_status, task.callback_attempts) == (CallbackStatus.DUE, 1)
    # Whoever took a callback is left alone with it, and the ticket waits for the end of that time ...
    assert task.wake_at is not None
    assert task.wake_at > datetime.now(timezone.utc)
    second = site.worker(callback_secret=",".join(SECRETS))
    second.wait_for_log("message received")
    eventually(lambda: site.messages() == 0, what="the ticket is parked")
    assert len(receiver.requests) == 1
    # ... which has come, with the ticket.
    database = make_url(mysql_url).database
    mariadb.execute("UPDATE grid_async_task_tasks SET wake_at = UTC_TIMESTAMP(6)", database)
    site.publish(callback_url=receiver.url, callback_data={"order": 7})
    task = wait_for_callback(site, "t", CallbackStatus.SENT)
    assert (task.attempt, task.callback_attempts) == (1, 2)
    once, again = receiver.requests
    assert (once.body, once.headers["webhook-id"]) == (again.body, again.headers["webhook-id"])
    for request in (once, again):
        for secret in SECRETS:
            assert Webhook(secret).verify(request.body, dict(request.headers)) == json.loads(request.body)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRETS[0]).verify(once.body.replace(b"success", b"failed"), dict(once.headers))
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + "A" * 32).verify(once.body, dict(once.headers))
    assert site.starts() == ["start t 1"]


# -- receivers that take long ---------------------------------------------------------------------------


def test_a_receiver_that_never_answers_holds_up_neither_tasks_nor_other_receivers(
    site: Site, receiver: HttpReceiver
) -> None:
    released = threading.Event()
    with HttpReceiver() as silent:
        silent.answer_by(lambda request: Answer(after=released))
        slow = [f"slow-{n}" for n in range(TRIES_AT_ONCE + 4)]
        good = [f"good-{n}" for n in range(30)]
        for task_id in slow:
            site.publish(task_id=task_id, callback_url=silent.url.replace("127.0.0.1", ANOTHER_HOST))
        for task_id in good:
            site.publish(task_id=task_id, callback_url=receiver.url)
        worker = site.worker(callback_timeout=600)
        # all the rest is done while not one try to the silent one has ended
        receiver.wait_for(len(good), 60)
        silent.wait_for(TRIES_AT_ONCE, 60)
        assert sorted(ids_of(receiver.requests)) == sorted(good)
        assert all(task_of(site, each).status is TaskStatus.SUCCESS for each in slow + good)
        # so many at a time, and what is over it has lost nothing: not its turn, not a try
        assert len(silent.requests) == TRIES_AT_ONCE
        released.set()
        silent.wait_for(len(slow), 60)
        for task_id in slow:
            assert wait_for_callback(site, task_id, CallbackStatus.SENT).callback_attempts == 1
        assert sorted(ids_of(silent.requests)) == sorted(slow)
        assert worker.log().count("further calls have to wait") == 1


def test_a_sink_that_hangs_takes_its_own_threads_only_and_the_process_ends(site: Site, receiver: HttpReceiver) -> None:
    hanging = [f"hanging-{n}" for n in range(TRIES_AT_ONCE + 4)]
    for task_id in hanging:
        site.publish(task_id=task_id, callback_type="hanging")
    site.publish(task_id="good", callback_url=receiver.url)
    program = "from tests.callback_handlers import work_with_a_hanging_sink as work; work()"
    worker = site.worker(command=[sys.executable, "-c", program], shutdown_grace=1)
    receiver.wait_for(1, 60)
    told = eventually(
        lambda: worker.diary() if sum("sink" in line for line in worker.diary()) >= TRIES_AT_ONCE else [],
        what="the sink is asked as often as it may be",
    )
    assert len({line for line in told if "sink" in line}) == sum("sink" in line for line in told) == TRIES_AT_ONCE
    worker.terminate()
    assert worker.ended() == 0
    for task_id in hanging:
        task = task_of(site, task_id)
        # still owed: somebody has to look again, and there is a time for it
        assert (task.status, task.callback_status) == (TaskStatus.SUCCESS, CallbackStatus.DUE)
        assert task.wake_at is not None


def test_retry_after_can_lengthen_the_wait_and_not_shorten_it(site: Site, receiver: HttpReceiver) -> None:
    later = datetime.now(timezone.utc) + timedelta(seconds=250)
    asked = {
        "/seconds": "3",
        "/zero": "0",
        "/too-long": "86400",
        "/date": format_datetime(later, usegmt=True),
    }
    come: set[str] = set()

    def judge(request: Request) -> Answer:
        first = request.path not in come
        come.add(request.path)
        return Answer(503, {"Retry-After": asked[request.path]}) if first else Answer()

    receiver.answer_by(judge)
    for path in asked:
        site.publish(task_id=path, callback_url=receiver.url.replace("/callback", path))
    worker = site.worker(log_format="json")
    for path in ("/seconds", "/zero"):
        wait_for_callback(site, path, CallbackStatus.SENT)
    at = {path: [each.at for each in receiver.requests if each.path == path] for path in asked}
    assert at["/seconds"][1] - at["/seconds"][0] >= 3.0
    assert at["/zero"][1] - at["/zero"][0] >= 0.8
    waits = {line["task_id"]: line["next_try_in_s"] for line in worker.said("callback failed")}
    assert waits["/too-long"] == 300.0
    assert 150 < waits["/date"] <= 250
    assert (len(at["/too-long"]), len(at["/date"])) == (1, 1)


# -- notices --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("feishu_is", ["down", "silent", "limiting"])
def test_a_feishu_in_trouble_delays_no_task(site: Site, feishu_is: str) -> None:
    with FeishuServer(RealClock()) as feishu:
        if feishu_is == "silent":
            feishu.receiver.answer_by(lambda request: Answer(after=threading.Event()))
        if feishu_is == "limiting":
            feishu.always_fail(11232, "frequency limited psm[lark.oapi.app_platform_runtime]")
        url = f"http://127.0.0.1:1{HOOK}" if feishu_is == "down" else feishu.url
        tasks = [f"t-{n}" for n in range(24)]
        for task_id in tasks:
            site.publish(task_id=task_id, data={"fail_until": 1} if task_id < "t-2" else {})
        worker = site.worker(feishu_webhook_url=url)
        eventually(
            lambda: all((task := site.client.get_task(each)) and task.status.is_final for each in tasks),
            60,
            "all tasks are final",
        )
        assert feishu.cards == []
        if feishu_is == "down":
            worker.wait_for_log("notification failed")
        else:
            feishu.receiver.wait_for(1, 30)
