"""What must not restart a worker, and what becomes of a task whose worker was restarted for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from grid_async_task.domain.task import TaskStatus
from tests.probed_worker import ProbedWorker
from tests.servers.mariadb import OwnMariaDb
from tests.servers.rabbitmq import RabbitServer
from tests.waiting import eventually
from tests.worker_site import Site, open_site

#: seconds of silence after which a thread is taken for dead; longer than any call waits for a server here
SILENT_AFTER_S = 20.0
#: seconds for which servers hang
OUTAGE_S = 45.0


@pytest.fixture
def site(tmp_path: Path, rabbitmq: RabbitServer, mariadb_own: OwnMariaDb) -> Iterator[Site]:
    with open_site(tmp_path, rabbitmq.url, mariadb_own.url(mariadb_own.new_database())) as site:
        yield site


def assert_live_for(worker: ProbedWorker, seconds: float) -> None:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        assert worker.ask("live") == set(), worker.said
        time.sleep(0.5)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("busy", [True, False])
def test_servers_that_hang_are_no_reason_for_a_restart(
    site: Site, rabbitmq: RabbitServer, mariadb_own: OwnMariaDb, busy: bool
) -> None:
    worker = ProbedWorker(
        site, "tests.handlers:Diary", silent_after_s=SILENT_AFTER_S, amqp_url=f"{rabbitmq.url}?heartbeat=5"
    )
    eventually(worker.is_well, what="the worker is well")
    if busy:
        site.publish(data={"until": str(site.finish_file())})
        worker.process.wait_for_diary("start t 1")
    rabbitmq.freeze()
    mariadb_own.pause()
    assert_live_for(worker, OUTAGE_S)
    wrong = worker.ask("ready")
    assert wrong is not None
    assert "broker" in wrong
    assert ("database" in wrong) == busy  # who does nothing does not ask it
    rabbitmq.thaw()
    mariadb_own.resume()
    if busy:
        site.finish_file().touch()
        assert site.wait_for(TaskStatus.SUCCESS).attempt == 1
    eventually(worker.is_well, timeout_s=90, what="it recovers by itself")


@pytest.mark.timeout(300)
def test_servers_that_are_not_there_at_the_start_are_no_reason(
    site: Site, rabbitmq: RabbitServer, mariadb_own: OwnMariaDb
) -> None:
    mariadb_own.kill()
    rabbitmq.stop()
    worker = ProbedWorker(site, "tests.handlers:Diary", silent_after_s=SILENT_AFTER_S)
    eventually(lambda: worker.ask("started") == set(), what="it has started")
    assert_live_for(worker, OUTAGE_S / 2)
    mariadb_own.start()
    worker.process.wait_for_log("worker started")
    assert_live_for(worker, OUTAGE_S / 2)
    assert worker.ask("ready") != set()
    rabbitmq.start()
    eventually(worker.is_well, timeout_s=90, what="it recovers by itself")


@pytest.mark.timeout(300)
def test_a_long_task_and_its_stop_are_no_reason(site: Site) -> None:
    worker = ProbedWorker(site, "tests.handlers:Diary", silent_after_s=8, shutdown_grace=60)
    site.publish(data={"until": str(site.finish_file())})
    worker.process.wait_for_diary("start t 1")
    assert_live_for(worker, 20)
    worker.process.terminate()
    eventually(lambda: worker.ask("ready") == {"stop"}, what="it says that it stops")
    assert_live_for(worker, 20)
    site.finish_file().touch()
    assert worker.process.ended() == 0
    assert site.wait_for(TaskStatus.SUCCESS).attempt == 1


@pytest.mark.timeout(300)
def test_a_handler_that_hangs_past_its_limit_costs_a_crash_when_its_worker_is_restarted(site: Site) -> None:
    worker = ProbedWorker(
        site, "tests.stop_handlers:InCCall", silent_after_s=180, task_timeout=0.5, shutdown_grace=1, lease_seconds=5
    )
    site.publish()
    worker.process.wait_for_diary("start t 1")
    eventually(lambda: worker.ask("live") == {"handler"}, what="the handler is found to hang")
    worker.process.terminate()
    assert worker.process.ended(timeout_s=30) == 75
    site.worker("tests.stop_handlers:InCCall")
    task = site.wait_for(TaskStatus.SUCCESS)
    assert (task.attempt, task.crash_count, task.retry_count) == (2, 1, 0)
