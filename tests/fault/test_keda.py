"""Workers that come and go with the queue, as KEDA has them: real processes, a real broker, a real database.

`pytest -s` prints what happened when.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from grid_async_task import Settings, Task
from grid_async_task.domain.callback import HOLD_MARGIN_S
from grid_async_task.domain.task import CallbackStatus, TaskStatus
from tests.servers.http_receiver import Answer, HttpReceiver
from tests.servers.keda_stand_in import KedaStandIn, ScaledJob, ScaledObject, Scaling
from tests.waiting import eventually
from tests.worker_process import WorkerProcess
from tests.worker_site import Site, open_site

PROGRAM = [sys.executable, "-m", "grid_async_task.cli"]
WORKER = [*PROGRAM, "worker", "--handler", "tests.handlers:Diary"]
#: seconds for which nobody else tries a callback while a worker does
HOLD_S = Settings().callback_timeout + HOLD_MARGIN_S
IDS = [f"task-{number}" for number in range(5)]


@pytest.fixture
def site(tmp_path: Path, amqp_url: str, mysql_url: str) -> Iterator[Site]:
    """After `migrate`, as in a deployment: before any worker there are the table and the queues."""
    with open_site(tmp_path, amqp_url, mysql_url) as site:
        assert site.worker(command=[*PROGRAM, "migrate"], lease_seconds=180).ended() == 0
        yield site


def keda(site: Site, scaling: Scaling, **settings: Any) -> KedaStandIn:
    def start_worker() -> WorkerProcess:
        return site.worker(command=WORKER, **settings)

    return KedaStandIn(site.settings["amqp_url"], site.settings["queue"], start_worker, scaling)


def task(site: Site, task_id: str) -> Task:
    found = site.client.get_task(task_id)
    assert found is not None
    return found


def all_are(site: Site, status: TaskStatus) -> bool:
    return site.client.count_by_status()[status.value] == len(IDS)


def wait_for_starts(site: Site, *lines: str) -> None:
    eventually(lambda: set(lines) <= set(site.starts()), 60, f"{lines} in {site.starts()}")


def wait_for_zero(cluster: KedaStandIn) -> None:
    """Nobody left, and nothing to do for anybody."""
    before = len(cluster.polls)
    eventually(lambda: len(cluster.polls) > before + 1 and cluster.alive == 0, 60, "no worker is left")


def test_from_zero_to_five_to_zero_while_retries_wait(site: Site) -> None:
    failing = IDS[:2]
    for task_id in IDS:
        data = {"until": str(site.finish_file()), "fail_until": 1 if task_id in failing else 0}
        site.publish(task_id=task_id, data=data, max_retry_count=1)

    with keda(site, ScaledJob(max_workers=5), idle_timeout=1, retry_delay=12) as cluster:
        wait_for_starts(site, *(f"start {task_id} 1" for task_id in IDS))
        cluster.note("five tasks run; now three of them end, and two fail")
        site.finish_file().touch()

        wait_for_zero(cluster)
        waiting = [task(site, task_id) for task_id in failing]
        assert [each.status for each in waiting] == [TaskStatus.RETRYING] * 2
        cluster.note("nobody is left; two tasks wait for their retry, and KEDA sees nothing of them")

        wait_for_starts(site, *(f"start {task_id} 2" for task_id in failing))
        wait_for_zero(cluster)
        cluster.note("the retries are done")

    assert all_are(site, TaskStatus.SUCCESS)
    assert Counter(site.starts()) == Counter(
        [f"start {task_id} 1" for task_id in IDS] + [f"start {task_id} 2" for task_id in failing]
    )
    polls = cluster.polls
    assert (polls[0].ready, polls[0].workers, polls[0].change) == (5, 0, 5)
    assert max(poll.workers for poll in polls) == 5
    # between the last worker's end and the retry, at least two looks that saw nothing and did nothing
    first_retry = next(number for number, poll in enumerate(polls) if number and poll.change > 0 and not poll.workers)
    assert [(poll.ready, poll.workers) for poll in polls[first_retry - 2 : first_retry]] == [(0, 0)] * 2
    assert [worker.process.returncode for worker in cluster.workers] == [0] * len(cluster.workers)


def test_scale_in_stops_workers_in_the_middle_of_tasks(site: Site) -> None:
    quick, slow = IDS[:3], IDS[3:]
    for task_id in IDS:
        site.publish(task_id=task_id, data={"until": str(site.directory / ("quick" if task_id in quick else "slow"))})

    scaling = ScaledObject(max_workers=5, cooldown_s=2)
    with keda(site, scaling, shutdown_grace=4) as cluster:
        wait_for_starts(site, *(f"start {task_id} 1" for task_id in IDS))
        first = cluster.workers
        cluster.note("all messages are taken, so that the queue looks empty; the autoscaler need not wait any longer")
        scaling.window_is_over.set()
        eventually(lambda: sum("stopping" in worker.log() for worker in first) >= 4, what="four are stopped")
        cluster.note("four are stopped in the middle of their tasks; three of the tasks end in time")
        (site.directory / "quick").touch()
        for worker in first:
            assert worker.ended() == 0
        cluster.note("two tasks outlasted their grace of 4 s and were handed back; whoever takes them may finish them")
        (site.directory / "slow").touch()
        eventually(lambda: all_are(site, TaskStatus.SUCCESS), 60, "all tasks succeed")
        wait_for_zero(cluster)

    # every task once, but for the two that were handed back: no retry and no crash was counted for those either
    assert Counter(site.starts()) == Counter(
        [f"start {task_id} 1" for task_id in IDS] + [f"start {task_id} 2" for task_id in slow]
    )
    tasks = [task(site, task_id) for task_id in IDS]
    assert [(each.attempt, each.retry_count, each.crash_count) for each in tasks] == [(1, 0, 0)] * 3 + [(2, 0, 0)] * 2


def test_a_callback_that_waits_wakes_a_worker_at_scale_zero(site: Site) -> None:
    with HttpReceiver() as receiver:
        receiver.answer_with([Answer(503, {"Retry-After": "15"})])
        site.publish(task_id="reported", callback_url=receiver.url)

        with keda(site, ScaledJob(max_workers=1), idle_timeout=2) as cluster:
            receiver.wait_for(1, timeout=60)
            eventually(lambda: due_in_s(task(site, "reported")) < HOLD_S, what="the next try is recorded")
            for worker in cluster.workers:
                worker.kill()
            cluster.note("its receiver was busy, the callback is due in 15 s; then kill -9: nobody is left")
            wait_for_zero(cluster)
            assert task(site, "reported").callback_status is CallbackStatus.DUE

            # killed before it had put its ticket forward, the worker leaves the one for the end of its hold
            first, second = receiver.wait_for(2, timeout=HOLD_S + 60)
            cluster.note("the ticket was due, woke a worker, and the callback has come")
            eventually(lambda: task(site, "reported").callback_status is CallbackStatus.SENT, what="it is marked")

    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    assert second.at - first.at >= 15
    assert site.starts() == ["start reported 1"]
    assert len(receiver.requests) == 2


def due_in_s(task: Task) -> float:
    """Seconds from the task's end to the next try of its callback."""
    assert task.wake_at is not None
    assert task.completed_at is not None
    return (task.wake_at - task.completed_at).total_seconds()
