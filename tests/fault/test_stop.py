"""SIGTERM and SIGINT at every awkward moment: the worker ends in time, its task goes on elsewhere and costs nothing."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from grid_async_task.adapters.sql.database import Database
from grid_async_task.adapters.sql.migrations import migration_lock
from grid_async_task.adapters.sql.tables import tables_named
from grid_async_task.domain.task import CallbackStatus, TaskStatus
from tests.pid_namespace import in_new_pid_namespace, pid_of_number_1
from tests.servers.http_receiver import Answer, HttpReceiver
from tests.servers.ports import free_port
from tests.trickle import run_trickle
from tests.waiting import eventually
from tests.worker_site import Site, open_site

SIGNALS = [signal.SIGTERM, signal.SIGINT]
#: what the installed program runs
PROGRAM = (sys.executable, "-m", "grid_async_task", "worker", "--handler")


@pytest.fixture
def site(tmp_path: Path, amqp_url: str, mysql_url: str) -> Iterator[Site]:
    with open_site(tmp_path, amqp_url, mysql_url) as site:
        yield site


# -- before the first task ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("server", "said", "number"),
    [
        ("amqp_url", "broker not reachable", signal.SIGTERM),
        ("mysql_url", "database unavailable", signal.SIGINT),
    ],
)
def test_while_a_server_refuses_connections(site: Site, server: str, said: str, number: signal.Signals) -> None:
    url = {"amqp_url": f"amqp://127.0.0.1:{free_port()}", "mysql_url": f"mysql://root@127.0.0.1:{free_port()}/x"}
    worker = site.worker(**{server: url[server]})
    worker.wait_for_log(said)
    worker.process.send_signal(number)
    assert worker.ended(timeout_s=15) == 0


def test_while_another_process_migrates(site: Site) -> None:
    database = _database(site)
    with migration_lock(database, tables_named("grid_async_task_tasks")):
        worker = site.worker()
        eventually(lambda: _waits_for_lock(site), what="the worker waits for its turn to migrate")
        worker.terminate()
        assert worker.ended(timeout_s=15) == 0
    assert "worker started" not in worker.log()
    database.close()
    # what it left can be migrated
    site.publish()
    site.worker()
    site.wait_for(TaskStatus.SUCCESS)


def _waits_for_lock(site: Site) -> bool:
    database = _database(site)
    with database.connected() as connection:
        rows = connection.execute(text("SHOW PROCESSLIST")).mappings().all()
        # a server that others use, too, has others' rows
        waits = any(row["db"] == database.url.database and "GET_LOCK" in str(row["Info"]) for row in rows)
    database.close()
    return waits


def _database(site: Site) -> Database:
    return Database(
        site.settings["mysql_url"], pool_size=1, max_overflow=0, pool_timeout_s=5, pool_recycle_s=60, answer_timeout_s=5
    )


# -- in the handler -----------------------------------------------------------------------------------------


def test_sigint_in_a_handler_that_sleeps_gives_its_task_to_a_worker_that_waits(site: Site) -> None:
    site.publish(data={"sleep": 60})
    first = site.worker(shutdown_grace=0.3, lease_seconds=600)
    first.wait_for_diary("start t 1")
    second = site.worker()
    second.wait_for_log("worker started")
    first.process.send_signal(signal.SIGINT)
    second.wait_for_diary("start t 2")
    assert first.ended(timeout_s=15) == 0
    task = site.task()
    assert (task.attempt, task.retry_count, task.crash_count) == (2, 0, 0)


def test_in_a_c_call_that_ends_within_the_grace(site: Site) -> None:
    site.publish(data={"sleep": 8})
    worker = site.worker("tests.stop_handlers:InSystemCall")
    worker.wait_for_diary("start t 1")
    worker.terminate()
    # seen at once, although Python can't run a signal's handler meanwhile
    worker.wait_for_log("stopping", timeout_s=6)
    assert "end t 1" not in worker.diary()
    assert worker.ended() == 0
    assert site.task().status is TaskStatus.SUCCESS


def test_in_a_c_call_that_never_ends_the_task_goes_to_a_worker_that_waits(site: Site) -> None:
    site.publish()
    first = site.worker("tests.stop_handlers:InCCall", shutdown_grace=0.2, lease_seconds=600)
    first.wait_for_diary("start t 1")
    second = site.worker("tests.stop_handlers:InCCall")
    second.wait_for_log("worker started")
    first.terminate()
    assert first.ended(timeout_s=30) == 75
    task = site.wait_for(TaskStatus.SUCCESS)
    assert (task.attempt, task.retry_count, task.crash_count) == (2, 0, 0)


def test_in_report_progress(site: Site) -> None:
    site.publish()
    first = site.worker("tests.stop_handlers:Reporting", shutdown_grace=0, lease_seconds=600, progress_interval=0)
    first.wait_for_diary("start t 1")
    first.terminate()
    assert first.ended(timeout_s=15) == 0
    site.assert_handed_back_at_no_cost()
    site.worker("tests.stop_handlers:Reporting")
    assert site.wait_for(TaskStatus.SUCCESS).attempt == 2


# -- after it -----------------------------------------------------------------------------------------------


def test_while_a_callback_is_delivered_to_a_slow_receiver(site: Site) -> None:
    with HttpReceiver() as receiver:
        receiver.answer_with([Answer(delay_s=2)])
        site.publish(callback_url=receiver.url)
        worker = site.worker()
        receiver.wait_for(1, timeout=30)
        worker.terminate()
        assert worker.ended(timeout_s=20) == 0
        assert len(receiver.requests) == 1
    assert site.task().callback_status is CallbackStatus.SENT


# -- more than once -----------------------------------------------------------------------------------------


def test_a_second_signal_neither_shortens_the_grace_nor_spoils_the_end(site: Site) -> None:
    site.publish(data={"until": str(site.finish_file())})
    worker = site.worker()
    worker.wait_for_diary("start t 1")
    worker.terminate()
    worker.wait_for_log("stopping")
    for number in (signal.SIGTERM, signal.SIGINT):
        worker.process.send_signal(number)
    site.finish_file().touch()
    assert worker.ended() == 0
    assert site.task().status is TaskStatus.SUCCESS
    assert worker.log().count("stopping") == 1


@pytest.mark.parametrize("number", SIGNALS)
def test_signals_until_the_very_end_do_not_change_the_exit_code(site: Site, number: signal.Signals) -> None:
    worker = site.worker(command=[*PROGRAM, "tests.handlers:Diary"])
    worker.wait_for_log("worker started")
    while worker.process.poll() is None:
        worker.process.send_signal(number)
        time.sleep(0.002)
    assert worker.ended() == 0, worker.log()


# -- as process number 1 ------------------------------------------------------------------------------------


def test_process_number_1_stops_while_idle(site: Site) -> None:
    worker = site.worker(command=in_new_pid_namespace(*PROGRAM, "tests.handlers:Diary"))
    worker.wait_for_log("worker started")
    os.kill(pid_of_number_1(worker.process.pid), signal.SIGTERM)
    assert worker.ended(timeout_s=15) == 0


def test_process_number_1_hands_its_task_back(site: Site) -> None:
    site.publish(data={"sleep": 60})
    command = in_new_pid_namespace(*PROGRAM, "tests.handlers:Diary")
    worker = site.worker(command=command, shutdown_grace=0.2, lease_seconds=600)
    worker.wait_for_diary("start t 1")
    os.kill(pid_of_number_1(worker.process.pid), signal.SIGTERM)
    assert worker.ended(timeout_s=15) == 0
    site.assert_handed_back_at_no_cost()
    assert site.messages() == 1


def test_process_number_1_can_be_ended_while_the_program_loads(site: Site, tmp_path: Path) -> None:
    """The kernel throws away what number 1 has no handler for, and a worker takes its time to load."""
    loading = tmp_path / "loading"
    (tmp_path / "typer.py").write_text(f"open({str(loading)!r}, 'w').close()\nimport time\ntime.sleep(60)\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from grid_async_task.cli import main; main()"
    worker = site.worker(command=in_new_pid_namespace(sys.executable, "-c", code))
    eventually(loading.exists, what="the program loads")
    os.kill(pid_of_number_1(worker.process.pid), signal.SIGTERM)
    assert worker.ended(timeout_s=15) == 128 + signal.SIGTERM


# -- idle exit ----------------------------------------------------------------------------------------------


def test_idle_exit_under_a_trickle_of_tasks_loses_none_and_repeats_none(site: Site) -> None:
    trickle = run_trickle(site, 5, idle_timeout=0.4, randomness=random.Random(1))
    trickle.assert_all_left_in_peace()
    assert len(trickle.workers) > 1
    assert site.starts() == [f"start task-{number} 1" for number in range(5)]
    counts = {status: count for status, count in site.client.count_by_status().items() if count}
    assert counts == {TaskStatus.SUCCESS: 5}
    assert site.messages() == 0
