"""Handlers in processes of their own, and limits, with real workers on real servers."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from grid_async_task.domain.task import TaskStatus
from tests.waiting import eventually
from tests.worker_process import WorkerProcess
from tests.worker_site import Site, open_site

#: seconds; whoever had to wait for it would fail this test by its time limit
LONG_LEASE_S = 600


@pytest.fixture
def site(tmp_path: Path, amqp_url: str, mysql_url: str) -> Iterator[Site]:
    with open_site(tmp_path, amqp_url, mysql_url) as site:
        yield site


def isolated(site: Site, handler: str = "Noting", **settings: Any) -> WorkerProcess:
    settings = {"isolation": "process", "lease_seconds": LONG_LEASE_S, **settings}
    return site.worker(f"tests.isolated_handlers:{handler}", **settings)


def process_of(worker: WorkerProcess, start: str) -> int:
    """The id of the process in which an attempt was started."""

    def look() -> str | None:
        return next((line for line in worker.diary() if line.startswith(f"start {start} in ")), None)

    return int(str(eventually(look, what=f"the start of {start}")).rpartition(" ")[2])


def test_a_handler_that_is_killed_runs_again_at_once_and_its_worker_goes_on(site: Site) -> None:
    site.publish(data={"do": "blocks"})
    worker = isolated(site)
    os.kill(process_of(worker, "t 1"), signal.SIGKILL)
    worker.wait_for_log("killed by SIGKILL (out of memory?)")
    os.kill(process_of(worker, "t 2"), signal.SIGSEGV)
    worker.wait_for_log("killed by SIGSEGV")
    process_of(worker, "t 3")
    task = site.task()
    assert (task.status, task.attempt, task.crash_count, task.retry_count) == (TaskStatus.RUNNING, 3, 2, 0)


def test_a_task_that_takes_its_process_down_too_often_fails(site: Site) -> None:
    site.publish(data={"do": "dies_once", "times": 9}, max_retry_count=5)
    worker = isolated(site, max_crash_count=1)
    failure = site.wait_for(TaskStatus.FAILED).failure
    assert failure is not None
    assert failure.error_type == "WorkerLost"
    assert "killed by SIGKILL (out of memory?)" in failure.message
    assert len(site.starts()) == 2
    site.publish(task_id="next", data={"do": "returns"})
    process_of(worker, "next 1")


def test_grace_used_up_in_a_call_in_c_hands_the_task_back_with_exit_code_0(site: Site) -> None:
    site.publish(data={"do": "adds_for_hours"})
    worker = isolated(site, "KilledSoon", shutdown_grace=0.5)
    handler = process_of(worker, "t 1")
    worker.terminate()
    assert worker.ended() == 0
    site.assert_handed_back_at_no_cost()
    assert site.messages() == 1
    with pytest.raises(ProcessLookupError):
        os.kill(handler, 0)


def test_a_task_that_takes_too_many_workers_down_is_not_run_again(site: Site) -> None:
    site.publish(data={"until": str(site.finish_file())}, max_retry_count=5)
    first = site.worker(max_crash_count=0)
    first.wait_for_diary("start t 1")
    first.kill()
    site.worker(max_crash_count=0)
    task = site.wait_for(TaskStatus.FAILED)
    assert task.failure is not None
    assert (task.failure.error_type, task.retry_count) == ("WorkerLost", 0)
    assert site.starts() == ["start t 1"]


@pytest.mark.parametrize("isolation", ["none", "process"])
def test_a_result_of_the_allowed_size_is_kept_and_a_larger_one_fails_the_task(site: Site, isolation: str) -> None:
    fits = "x" * (5_000 - len('{"data":""}'))
    site.publish(data={"do": "returns", "value": fits})
    isolated(site, isolation=isolation, result_max_bytes=5_000)
    assert site.wait_for(TaskStatus.SUCCESS).result == {"data": fits}
    site.publish(task_id="larger", data={"do": "returns", "value": f"{fits}x"}, max_retry_count=5)
    larger = eventually(lambda: (task := site.client.get_task("larger")) and task.status.is_final and task)
    assert larger
    assert larger.failure is not None
    assert (larger.failure.error_type, larger.retry_count) == ("ResultNotStorable", 0)
    assert "RESULT_MAX_BYTES" in larger.failure.message
