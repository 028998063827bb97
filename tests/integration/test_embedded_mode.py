"""The embedded mode: workers, producer and client on one SQLite file, in processes of their own, without a server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from grid_async_task import Settings, Task, TaskClient, TaskHandler, TaskProcessor, TaskProducer, TaskStatus
from grid_async_task.adapters.embedded import EmbeddedMessagePublisher, EmbeddedMessageSource
from tests.handlers import Diary, note
from tests.servers.http_receiver import HttpReceiver
from tests.waiting import eventually
from tests.worker_process import WorkerProcess

QUEUE = "work"


class UntilCancelled(Diary):
    """Goes on until somebody cancels it."""

    def execute(self, task_data: dict[str, Any]) -> Any:
        note(f"start {self.task_id} {self.attempt}")
        eventually(lambda: self.cancelled, what="the cancel")
        return {"what": "is not kept"}


@dataclass
class Site:
    """One file, whoever works on it, and the producer and client of the test itself."""

    directory: Path
    workers: list[WorkerProcess] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.url = f"sqlite:///{self.directory / 'grid.db'}"
        # a lease this short is taken over after 5 s of watching
        self.settings = {"amqp_url": self.url, "queue": QUEUE, "mysql_url": self.url, "lease_seconds": 5}
        self.producer = TaskProducer(settings=Settings(**self.settings))
        self.client = TaskClient(settings=Settings(**self.settings))

    def worker(self, handler: str = "tests.handlers:Diary", **settings: Any) -> WorkerProcess:
        worker = WorkerProcess(self.directory, handler, **{**self.settings, **settings})
        self.workers.append(worker)
        return worker

    def send(self, task_id: str, data: dict[str, Any] | None = None, **fields: Any) -> None:
        self.producer.send_task({"task_id": task_id, "data": data or {}, **fields})

    def task(self, task_id: str) -> Task:
        task = self.client.get_task(task_id)
        assert task is not None, f"there is no task {task_id}"
        return task

    def wait_for(self, task_id: str, status: TaskStatus, timeout_s: float = 30.0) -> Task:
        try:
            eventually(lambda: self.task(task_id).status is status, timeout_s, f"{task_id} is {status.value}")
        except AssertionError as error:
            logs = "\n".join(worker.log() for worker in self.workers)
            raise AssertionError(f"{error}; it is {self.task(task_id)}\n{logs}") from error
        return self.task(task_id)

    def starts(self) -> list[str]:
        return [line for line in self.workers[0].diary() if line.startswith("start")]

    def ready_messages(self, queue: str = QUEUE) -> int:
        publisher = EmbeddedMessagePublisher(self.url)
        try:
            return publisher.declare(queue).ready
        finally:
            publisher.close()

    def close(self) -> None:
        for worker in self.workers:
            worker.__exit__(None, None, None)
        self.producer.close()
        self.client.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.close()


def test_the_task_of_a_killed_worker_resumes_on_another_from_its_checkpoint(site: Site) -> None:
    site.send("t", {"until": str(site.directory / "never")})
    first = site.worker("tests.handlers:Checkpointing")
    first.wait_for_diary("step 5 of t in 1")
    first.kill()
    second = site.worker("tests.handlers:Checkpointing")
    task = site.wait_for("t", TaskStatus.SUCCESS)
    assert (task.attempt, task.result, task.crash_count, task.retry_count) == (2, {"steps": 10}, 1, 0)
    resumed = [line for line in second.diary() if line.endswith("in 2")]
    assert resumed == [f"step {step} of t in 2" for step in range(5, 11)]
    assert site.ready_messages() == 0


def test_a_retry_comes_after_its_delay_and_not_before(site: Site) -> None:
    site.send("t", {"fail_until": 1}, max_retry_count=1)
    site.worker(retry_delay=4)
    waiting = site.wait_for("t", TaskStatus.RETRYING)
    assert waiting.failure is not None
    assert (waiting.failure.error_type, waiting.retry_count) == ("RuntimeError", 1)
    assert waiting.wake_at is not None
    assert waiting.updated_at is not None
    assert abs(waiting.wake_at - waiting.updated_at - timedelta(seconds=4)) < timedelta(milliseconds=100)
    # meanwhile the message waits where nobody counts it
    assert site.ready_messages() == 0
    task = site.wait_for("t", TaskStatus.SUCCESS)
    assert (task.result, task.retry_count) == ({"attempt": 2}, 1)
    assert task.completed_at is not None
    assert task.completed_at >= waiting.wake_at
    assert site.starts() == ["start t 1", "start t 2"]


def test_a_task_whose_retries_are_used_up_is_revived_by_an_operator(site: Site) -> None:
    site.send("t", {"fail_until": 2}, max_retry_count=1)
    site.worker(retry_delay=0.2)
    failed = site.wait_for("t", TaskStatus.FAILED)
    assert failed.failure is not None
    assert (failed.failure.error_type, failed.failure.cause) == ("RetryExhausted", "RuntimeError")
    assert site.client.retry_task("t")
    task = site.wait_for("t", TaskStatus.SUCCESS)
    # the revival is a step of the attempt number too: whoever held number 2 can't write any more
    assert (task.result, task.retry_count, task.failure) == ({"attempt": 4}, 0, None)
    assert not site.client.retry_task("t")
    assert site.starts() == ["start t 1", "start t 2", "start t 4"]


def test_callbacks_go_out_over_http_and_to_a_reply_queue(site: Site) -> None:
    with HttpReceiver() as receiver:
        receiver.answer_with([503, 200])
        site.send("by-http", callback_url=receiver.url, callback_data={"order": 7})
        site.send("by-queue", {"fail_until": 9}, callback_type="rabbitmq", callback_data={"queue_name": "replies"})
        site.worker()
        first, second = receiver.wait_for(2, 60)
        eventually(lambda: site.task("by-http").callback_status == "sent", what="by-http is marked")
    done = site.wait_for("by-http", TaskStatus.SUCCESS).to_dict()
    assert json.loads(first.body) == {
        "task_id": "by-http",
        "status": "success",
        "result": {"attempt": 1},
        "timestamp": done["completed_at"],
        "callback_data": {"order": 7},
    }
    assert (second.body, second.headers["webhook-id"]) == (first.body, first.headers["webhook-id"])

    source = EmbeddedMessageSource(site.url, "replies")
    try:
        reply = source.next(10)
        assert reply is not None
        source.ack(reply)
    finally:
        source.close()
    assert json.loads(reply.body) == {
        "task_id": "by-queue",
        "status": "failed",
        "result": {"error": "not yet", "error_type": "RuntimeError"},
        "timestamp": site.task("by-queue").to_dict()["completed_at"],
        "callback_data": {"queue_name": "replies"},
    }
    assert reply.properties["message_id"]
    eventually(lambda: site.task("by-queue").callback_status == "sent", what="by-queue is marked")


def test_a_running_and_a_waiting_task_are_cancelled(site: Site) -> None:
    with HttpReceiver() as receiver:
        site.send("running", callback_url=receiver.url)
        worker = site.worker("tests.integration.test_embedded_mode:UntilCancelled")
        worker.wait_for_diary("start running 1")
        site.send("waiting", callback_url=receiver.url)
        assert site.client.cancel_task("waiting")
        assert site.task("waiting").status is TaskStatus.FAILED
        assert site.client.cancel_task("running")
        site.wait_for("running", TaskStatus.FAILED)
        requests = receiver.wait_for(2, 60)
    for task_id in ("running", "waiting"):
        task = site.task(task_id)
        assert task.failure is not None
        assert (task.failure.error_type, task.result) == ("TaskCancelled", None)
        assert not site.client.cancel_task(task_id)
    answers = {answer["task_id"]: answer for answer in (json.loads(request.body) for request in requests)}
    assert {name: answer["result"]["error_type"] for name, answer in answers.items()} == {
        "running": "TaskCancelled",
        "waiting": "TaskCancelled",
    }
    assert site.starts() == ["start running 1"]


def test_two_workers_share_200_tasks_and_run_each_of_them_once(site: Site) -> None:
    workers = [site.worker(prefetch_count=prefetch) for prefetch in (1, 5)]
    for worker in workers:
        worker.wait_for_log("worker started")
    tasks = [{"task_id": f"t{number}", "data": {"sleep": 0.01}} for number in range(200)]
    ids = site.producer.batch_send_tasks(tasks)
    assert ids == [f"t{number}" for number in range(200)]
    eventually(lambda: site.client.count_by_status()["success"] == 200, timeout_s=150, what="all 200 have succeeded")
    for worker in workers:
        worker.terminate()
    assert [worker.ended() for worker in workers] == [0, 0]
    assert sorted(site.starts()) == sorted(f"start {task_id} 1" for task_id in ids)
    assert site.ready_messages() == 0
    shares = [worker.log().count("task succeeded") for worker in workers]
    assert sum(shares) == 200
    assert min(shares) > 0, "one worker did nothing"


def test_sigterm_hands_the_task_back_at_no_cost_and_another_worker_has_it_at_once(site: Site) -> None:
    site.send("t", {"until": str(site.directory / "finish")})
    first = site.worker(shutdown_grace=0.3, lease_seconds=600)
    first.wait_for_diary("start t 1")
    first.terminate()
    assert first.ended(timeout_s=15) == 0
    handed_back = site.task("t")
    assert (handed_back.status, handed_back.owner) == (TaskStatus.PENDING, None)
    assert (handed_back.retry_count, handed_back.crash_count) == (0, 0)
    assert site.ready_messages() == 1
    (site.directory / "finish").touch()
    site.worker()
    task = site.wait_for("t", TaskStatus.SUCCESS, timeout_s=10)
    assert (task.result, task.retry_count, task.crash_count) == ({"attempt": 2}, 0, 0)


def test_sigterm_lets_a_task_end_that_does_so_within_the_grace(site: Site) -> None:
    site.send("t", {"until": str(site.directory / "finish")})
    worker = site.worker(shutdown_grace=20)
    worker.wait_for_diary("start t 1")
    site.send("next")
    worker.terminate()
    worker.wait_for_log("stopping")
    (site.directory / "finish").touch()
    assert worker.ended(timeout_s=15) == 0
    assert site.task("t").status is TaskStatus.SUCCESS
    assert site.task("next").status is TaskStatus.PENDING
    assert (site.starts(), site.ready_messages()) == (["start t 1"], 1)


class Doubling(TaskHandler):
    def execute(self, task_data: dict[str, Any]) -> Any:
        if task_data["number"] == 13 and self.attempt == 1:
            raise RuntimeError("unlucky")
        return {"doubled": task_data["number"] * 2}


def test_memory_serves_everything_within_one_process() -> None:
    settings = Settings(amqp_url="memory://", queue="in-memory", mysql_url="memory://", retry_delay=0.2)
    producer, client = TaskProducer(settings=settings), TaskClient(settings=settings)
    processor = TaskProcessor(Doubling(), settings=settings)
    worker = threading.Thread(target=processor.start)
    worker.start()
    try:
        with HttpReceiver() as receiver:
            message = {"data": {"number": 13}, "max_retry_count": 1, "callback_url": receiver.url}
            task_id = producer.send_task(message)
            (request,) = receiver.wait_for(1)
        assert json.loads(request.body)["result"] == {"doubled": 26}
        task = client.get_task(task_id)
        assert task is not None
        assert (task.status, task.attempt, task.retry_count) == (TaskStatus.SUCCESS, 2, 1)
        assert processor.get_status()["rabbitmq_connected"]
    finally:
        processor.stop()
        worker.join(10)
    assert not worker.is_alive()
    assert not processor.is_running
