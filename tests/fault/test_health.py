"""Liveness sees what a restart cures: each part of a real worker is really stopped."""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pika
import pytest

from grid_async_task.domain.task import TaskStatus
from tests.probed_worker import ProbedWorker
from tests.waiting import eventually
from tests.worker_site import Site, open_site

#: as a client that the broker does not tell when it ends a subscription
DEAF = "client_properties=" + urllib.parse.quote("{'capabilities': {'consumer_cancel_notify': False}}")


@pytest.fixture
def site(tmp_path: Path, amqp_url: str, mysql_url: str) -> Iterator[Site]:
    with open_site(tmp_path, amqp_url, mysql_url) as site:
        yield site


def test_dead_threads_fail_liveness(site: Site) -> None:
    worker = ProbedWorker(site, "tests.health_handlers:KillsThreads", silent_after_s=4)
    eventually(worker.is_well, what="the worker is well")
    site.publish(data={"threads": ["amqp-source", "grid-async-task heartbeat"]})
    site.wait_for(TaskStatus.SUCCESS)
    assert len(site.diary()) == 2
    eventually(lambda: worker.ask("live") == {"source", "heartbeat"}, what="both are found dead")


def test_a_consumer_that_the_broker_knows_nothing_of_fails_liveness(site: Site) -> None:
    worker = ProbedWorker(
        site, "tests.handlers:Diary", silent_after_s=180, amqp_url=f"{site.settings['amqp_url']}?{DEAF}"
    )
    eventually(worker.is_well, what="the worker is well")
    with pika.BlockingConnection(pika.URLParameters(site.settings["amqp_url"])) as connection:
        connection.channel().queue_delete(site.settings["queue"])
    site.publish()
    eventually(lambda: worker.ask("live") == {"subscription"}, what="the lost subscription is found")
    assert site.messages() == 1
    # what a kubelet does then
    worker.process.terminate()
    assert worker.process.ended() == 0
    site.worker()
    site.wait_for(TaskStatus.SUCCESS)


def test_a_handler_past_its_limit_in_c_code_fails_liveness(site: Site) -> None:
    worker = ProbedWorker(site, "tests.stop_handlers:InCCall", silent_after_s=180, task_timeout=0.5, shutdown_grace=0.5)
    eventually(worker.is_well, what="the worker is well")
    site.publish()
    eventually(lambda: worker.ask("live") == {"handler"}, what="the handler is found to hang")
    assert site.task().status is TaskStatus.RUNNING
