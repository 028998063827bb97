"""The stops that take their time: servers that hang or are away, a grace that is over, and idle exit many times."""

from __future__ import annotations

import random
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from grid_async_task.domain.task import CallbackStatus, TaskStatus
from tests.servers.http_receiver import Answer, HttpReceiver
from tests.servers.mariadb import OwnMariaDb
from tests.servers.rabbitmq import RabbitServer
from tests.trickle import run_trickle
from tests.waiting import eventually
from tests.worker_site import Site, open_site

#: tasks of the trickle; about half of them start a worker of their own
TRICKLE = 100
#: stops of a handler that never stops reporting, each at a moment of its own
REPORTING_ROUNDS = 40

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture
def site(tmp_path: Path, amqp_url: str, mysql_url: str) -> Iterator[Site]:
    with open_site(tmp_path, amqp_url, mysql_url) as site:
        yield site


@pytest.fixture
def site_of_killable_servers(tmp_path: Path, rabbitmq: RabbitServer, mariadb_own: OwnMariaDb) -> Iterator[Site]:
    with open_site(tmp_path, rabbitmq.url, mariadb_own.url(mariadb_own.new_database())) as site:
        yield site


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Something listens there and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize("server", ["amqp_url", "mysql_url"])
def test_while_a_server_takes_connections_and_says_nothing(site: Site, server: str, silent_port: int) -> None:
    url = {"amqp_url": f"amqp://127.0.0.1:{silent_port}", "mysql_url": f"mysql://root@127.0.0.1:{silent_port}/x"}
    worker = site.worker(**{server: url[server]})
    eventually(lambda: _is_connected_to(worker.process.pid, silent_port), what="the worker has connected")
    worker.terminate()
    assert worker.ended(timeout_s=20) == 0


def _is_connected_to(pid: int, port: int) -> bool:
    """By the kernel's table of the process' sockets; 01 is an established connection."""
    remote = f"0100007F:{port:04X}"
    lines = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return any(fields[2] == remote and fields[3] == "01" for fields in lines)


def test_a_callback_that_the_grace_cuts_off_is_sent_by_another_worker(site: Site) -> None:
    with HttpReceiver() as receiver:
        receiver.answer_with([Answer(delay_s=60)])
        site.publish(callback_url=receiver.url)
        worker = site.worker(shutdown_grace=0, callback_timeout=20)
        receiver.wait_for(1, timeout=30)
        worker.terminate()
        assert worker.ended(timeout_s=15) == 0
        task = site.task()
        assert (task.status, task.callback_status) == (TaskStatus.SUCCESS, CallbackStatus.DUE)
        # its ticket comes back when the try that was cut off must be over: 20 s and a minute
        site.worker()
        receiver.wait_for(2, timeout=150)
        eventually(lambda: site.task().callback_status is CallbackStatus.SENT, what="the callback is marked as sent")
        ids = {request.headers["webhook-id"] for request in receiver.requests}
        assert len(ids) == 1


# -- while a server is away ---------------------------------------------------------------------------------


def test_while_the_broker_hangs_the_task_is_handed_back(site_of_killable_servers: Site, rabbitmq: RabbitServer) -> None:
    site = site_of_killable_servers
    site.publish(data={"sleep": 60})
    worker = site.worker(shutdown_grace=0.2, lease_seconds=600)
    worker.wait_for_diary("start t 1")
    rabbitmq.freeze()
    worker.terminate()
    code = worker.ended(timeout_s=40)
    rabbitmq.thaw()
    assert code == 0
    site.assert_handed_back_at_no_cost()
    site.worker().wait_for_diary("start t 2")


def test_while_the_database_is_away_the_task_is_taken_over_later(
    site_of_killable_servers: Site, mariadb_own: OwnMariaDb
) -> None:
    site = site_of_killable_servers
    site.publish(data={"until": str(site.finish_file())})
    worker = site.worker(shutdown_grace=0.2)
    worker.wait_for_diary("start t 1")
    mariadb_own.kill()
    worker.terminate()
    assert worker.ended(timeout_s=40) == 0
    mariadb_own.start()
    site.finish_file().touch()
    site.worker()
    task = site.wait_for(TaskStatus.SUCCESS)
    # the hand-back could not be written, which looks like a crash; it never costs a retry
    assert (task.attempt, task.retry_count, task.crash_count) == (2, 0, 1)


# -- many times ---------------------------------------------------------------------------------------------


def test_idle_exit_under_a_long_trickle(site: Site) -> None:
    trickle = run_trickle(site, TRICKLE, idle_timeout=0.4, randomness=random.Random(7))
    trickle.assert_all_left_in_peace()
    assert site.starts() == [f"start task-{number} 1" for number in range(TRICKLE)]
    counts = {status: count for status, count in site.client.count_by_status().items() if count}
    assert counts == {TaskStatus.SUCCESS: TRICKLE}
    assert site.messages() == 0
    print(
        f"\n{TRICKLE} tasks, {len(trickle.workers)} workers, {trickle.taken_by_the_same} tasks"
        " came before the worker of the task before had left"
    )


def test_report_progress_is_interrupted_anywhere(site: Site) -> None:
    randomness = random.Random(3)
    for number in range(REPORTING_ROUNDS):
        worker = site.worker("tests.stop_handlers:Reporting", shutdown_grace=0, progress_interval=0)
        site.publish(task_id=f"t-{number}")
        worker.wait_for_diary(f"start t-{number} 1")
        time.sleep(randomness.uniform(0, 0.2))
        worker.process.send_signal(randomness.choice([signal.SIGTERM, signal.SIGINT]))
        assert worker.ended(timeout_s=20) == 0
        # it ends, and leaves nothing to the next round
        ending = site.worker("tests.stop_handlers:Reporting", idle_timeout=0.5)
        assert ending.ended() == 0
        task = site.client.get_task(f"t-{number}")
        assert task is not None
        assert (task.status, task.attempt, task.retry_count, task.crash_count) == (TaskStatus.SUCCESS, 2, 0, 0)
