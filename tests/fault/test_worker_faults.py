"""Real processes, really killed: what SPEC section 4 promises, checked from outside."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from grid_async_task.domain.task import TaskStatus
from tests.servers.mariadb import OwnMariaDb
from tests.servers.rabbitmq import RabbitServer
from tests.waiting import eventually
from tests.worker_process import WorkerProcess
from tests.worker_site import Site, open_site


@pytest.fixture
def site(tmp_path: Path, amqp_url: str, mysql_url: str) -> Iterator[Site]:
    with open_site(tmp_path, amqp_url, mysql_url) as site:
        yield site


@pytest.fixture
def site_of_killable_servers(tmp_path: Path, rabbitmq: RabbitServer, mariadb_own: OwnMariaDb) -> Iterator[Site]:
    with open_site(tmp_path, rabbitmq.url, mariadb_own.url(mariadb_own.new_database())) as site:
        yield site


def test_the_task_of_a_killed_worker_is_run_again_by_another(site: Site) -> None:
    site.publish(data={"until": str(site.finish_file())})
    first = site.worker()
    first.wait_for_diary("start t 1")
    first.kill()
    site.finish_file().touch()
    second = site.worker()
    second.wait_for_diary("end t 2")
    task = site.wait_for(TaskStatus.SUCCESS)
    assert (task.attempt, task.crash_count, task.retry_count, task.result) == (2, 1, 0, {"attempt": 2})
    assert site.starts() == ["start t 1", "start t 2"]


def test_a_killed_handler_resumes_from_its_checkpoint(site: Site) -> None:
    site.publish(data={"until": str(site.finish_file())})
    first = site.worker("tests.handlers:Checkpointing")
    first.wait_for_diary("step 5 of t in 1")
    first.kill()
    second = site.worker("tests.handlers:Checkpointing")
    task = site.wait_for(TaskStatus.SUCCESS)
    assert task.result == {"steps": 10}
    assert [line for line in second.diary() if line.endswith("in 2")] == [
        f"step {step} of t in 2" for step in range(5, 11)
    ]


def test_a_broker_restart_in_mid_task_does_not_run_it_twice(
    site_of_killable_servers: Site, rabbitmq: RabbitServer
) -> None:
    site = site_of_killable_servers
    site.publish(data={"until": str(site.finish_file())})
    worker = site.worker()
    worker.wait_for_diary("start t 1")
    rabbitmq.restart()
    other = site.worker()
    other.wait_for_log("worker started")
    site.finish_file().touch()
    task = site.wait_for(TaskStatus.SUCCESS)
    assert (task.attempt, task.result) == (1, {"attempt": 1})
    # the worker is whole again: it takes the next task
    site.publish(task_id="next")
    eventually(lambda: "start next 1" in worker.diary(), what="the next task is taken")
    assert site.starts() == ["start t 1", "start next 1"]


def test_a_database_outage_longer_than_the_lease_at_the_end_of_a_task(
    site_of_killable_servers: Site, mariadb_own: OwnMariaDb
) -> None:
    site = site_of_killable_servers
    site.publish(data={"until": str(site.finish_file())})
    worker = site.worker()
    other = site.worker()
    eventually(lambda: "start t 1" in worker.diary())
    other.wait_for_log("worker started")
    mariadb_own.kill()
    site.finish_file().touch()
    worker.wait_for_diary("end t 1")
    eventually(lambda: "database unavailable" in worker.log() + other.log(), what="the log says so")
    mariadb_own.start()
    task = site.wait_for(TaskStatus.SUCCESS)
    assert (task.attempt, task.result) == (1, {"attempt": 1})
    assert site.starts() == ["start t 1"]


def test_a_paused_worker_can_t_overwrite_what_came_after_it(site: Site) -> None:
    site.publish(data={"until": str(site.finish_file())})
    # the broker gives a silent consumer's message to another after two heartbeats
    amqp_url = site.settings["amqp_url"] + "?heartbeat=2"
    first = site.worker(amqp_url=amqp_url)
    first.wait_for_diary("start t 1")
    first.process.send_signal(signal.SIGSTOP)
    second = site.worker(amqp_url=amqp_url)
    second.wait_for_diary("start t 2", timeout_s=60)
    first.process.send_signal(signal.SIGCONT)
    first.wait_for_log("claim lost")
    site.finish_file().touch()
    task = site.wait_for(TaskStatus.SUCCESS)
    assert (task.attempt, task.crash_count, task.result) == (2, 1, {"attempt": 2})
    assert site.starts() == ["start t 1", "start t 2"]


def test_sigterm_lets_the_task_end_within_its_grace(site: Site) -> None:
    site.publish(data={"until": str(site.finish_file())})
    worker = site.worker()
    worker.wait_for_diary("start t 1")
    site.publish(task_id="other")
    worker.terminate()
    worker.wait_for_log("stopping")
    site.finish_file().touch()
    assert worker.ended() == 0
    assert site.task().status is TaskStatus.SUCCESS
    assert site.starts() == ["start t 1"]
    assert site.messages() == 1


def test_grace_used_up_hands_the_task_back_at_once_and_at_no_cost(site: Site) -> None:
    site.publish(data={"sleep": 60})
    worker = site.worker(shutdown_grace=0.5, lease_seconds=600)
    worker.wait_for_diary("start t 1")
    worker.terminate()
    assert worker.ended(timeout_s=15) == 0
    task = site.task()
    assert (task.status, task.retry_count, task.crash_count, task.owner) == (TaskStatus.PENDING, 0, 0, None)
    assert site.messages() == 1
    second = site.worker()
    second.wait_for_diary("start t 2")


def test_a_handler_that_does_not_end_is_handed_back_and_the_process_leaves(site: Site) -> None:
    site.publish()
    worker = site.worker("tests.handlers:Stubborn", shutdown_grace=0.2, lease_seconds=600)
    worker.wait_for_diary("start t 1")
    worker.terminate()
    assert worker.ended(timeout_s=30) == 75
    task = site.task()
    assert (task.status, task.retry_count, task.crash_count) == (TaskStatus.PENDING, 0, 0)
    assert eventually(site.messages) >= 1


@pytest.mark.parametrize("stop", [WorkerProcess.terminate, lambda worker: worker.process.send_signal(signal.SIGINT)])
def test_an_idle_worker_stops_at_once(site: Site, stop: Callable[[WorkerProcess], None]) -> None:
    worker = site.worker()
    worker.wait_for_log("worker started")
    stop(worker)
    assert worker.ended(timeout_s=15) == 0


def test_a_time_limit_reaches_a_blocking_call(site: Site) -> None:
    site.publish(data={"sleep": 60})
    site.worker(task_timeout=0.5)
    task = site.wait_for(TaskStatus.FAILED)
    assert task.failure is not None
    assert task.failure.error_type == "TimeoutError"
    assert "TASK_TIMEOUT" in task.failure.message


def test_a_worker_waits_for_servers_that_are_not_there_yet(
    site_of_killable_servers: Site, rabbitmq: RabbitServer, mariadb_own: OwnMariaDb
) -> None:
    site = site_of_killable_servers
    site.publish()
    rabbitmq.stop()
    mariadb_own.kill()
    worker = site.worker(lease_seconds=60)  # an answer may take a sixth of it: a slow start is no second outage
    worker.wait_for_log("database unavailable")
    mariadb_own.start()
    worker.wait_for_log("broker not reachable")
    rabbitmq.start()
    site.wait_for(TaskStatus.SUCCESS)
    assert worker.log().count("database unavailable") == 1


@pytest.mark.parametrize("which", ["amqp_url", "mysql_url"])
def test_a_refused_login_ends_the_worker_with_a_sentence(site: Site, which: str) -> None:
    scheme, rest = site.settings[which].split("://", 1)
    wrong = f"{scheme}://nobody:p%40ssw0rd-secret@{rest.split('@', 1)[1]}"
    worker = site.worker(**{which: wrong})
    assert worker.ended() != 0
    assert "ConfigurationError" in worker.log()
    assert "nobody" in worker.log()
    assert "ssw0rd-secret" not in worker.log()


def test_no_task_waits_behind_a_long_one_while_another_worker_is_free(site: Site) -> None:
    site.publish(data={"until": str(site.finish_file())})
    for number in range(4):
        site.publish(task_id=f"short-{number}")
    busy = site.worker(prefetch_count=10)
    busy.wait_for_diary("start t 1")
    free = site.worker()
    for number in range(4):
        free.wait_for_diary(f"end short-{number} 1")
    assert site.task().status is TaskStatus.RUNNING
    site.finish_file().touch()
    site.wait_for(TaskStatus.SUCCESS)
    # it subscribes again
    free.terminate()
    free.ended()
    site.publish(task_id="last")
    busy.wait_for_diary("end last 1")
    assert len(site.starts()) == 6
