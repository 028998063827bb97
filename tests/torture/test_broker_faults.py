"""Faults of the broker that take their time. No worker is killed here: whatever happens, a task runs once."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from grid_async_task import TaskStatus
from tests.fault.broker_site import BrokerSite, open_broker_site
from tests.servers.rabbitmq import RabbitServer
from tests.servers.tcp_proxy import TcpProxy, proxy_to
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(600)

IMPATIENT = "tests.handlers:AckTimeoutOfOneSecond"


@pytest.fixture
def site(tmp_path: Path, rabbitmq: RabbitServer, mysql_url: str) -> Iterator[BrokerSite]:
    with open_broker_site(tmp_path, rabbitmq.url, mysql_url) as site:
        yield site


@pytest.fixture
def proxy(site: BrokerSite) -> Iterator[TcpProxy]:
    """The way to the broker."""
    with proxy_to(site.settings["amqp_url"]) as proxy:
        yield proxy


@pytest.mark.parametrize("heartbeat", [{"heartbeat": "2"}, {}], ids=["2 s", "as it is by default"])
def test_a_partition_that_heals(
    site: BrokerSite, proxy: TcpProxy, rabbitmq: RabbitServer, heartbeat: dict[str, str]
) -> None:
    """A half-open connection: both ends hear of it only when heartbeats stay away, and the task goes on meanwhile."""
    site.publish(data={"until": str(site.finish_file())})
    worker = site.worker(**site.through(proxy, **heartbeat))
    worker.wait_for_diary("start t 1")
    other = site.worker()
    other.wait_for_log("worker started")
    proxy.hang()
    other.wait_for_log("message received", timeout_s=120)  # the broker has given up the connection
    worker.wait_for_log("broker connection lost", timeout_s=120)
    site.finish_file().touch()
    worker.wait_for_log("task succeeded")
    proxy.resume()
    worker.wait_for_log("broker connected", timeout_s=60)
    site.succeeded()
    site.publish(task_id="next")
    site.succeeded("next")
    site.nothing_is_left(rabbitmq)


def test_a_very_slow_way_to_the_broker(site: BrokerSite, proxy: TcpProxy, rabbitmq: RabbitServer) -> None:
    proxy.delay(0.5)
    site.publish(max_retry_count=1, data={"fail_until": 1})
    worker = site.worker(**site.through(proxy))
    site.succeeded(attempt=2)
    site.nothing_is_left(rabbitmq)
    assert "broker" not in worker.log()


def test_an_ack_timeout_again_and_again_costs_nothing_but_deliveries(site: BrokerSite, rabbitmq: RabbitServer) -> None:
    """Two workers are busy for much longer than the broker lets them hold a message, and two wait."""
    rabbitmq.set_ack_timeout(1000, tick_ms=500)
    try:
        long = {"until": str(site.finish_file())}
        site.publish(data=long)
        site.publish(task_id="retried", max_retry_count=1, data={**long, "fail_until": 1})
        busy = [site.worker(IMPATIENT), site.worker(IMPATIENT)]
        for worker in busy:
            worker.wait_for_log("the broker closed the channel; what it had delivered comes again")
        waiting = [site.worker(IMPATIENT), site.worker(IMPATIENT)]

        def deliveries() -> int:
            return sum(worker.log().count("message received") for worker in waiting)

        # each of them is parked for what is left of the lease, and that again and again
        eventually(lambda: deliveries() >= 6, 120, "the tickets come again and again")
        site.finish_file().touch()
        site.succeeded()
        site.succeeded("retried", attempt=2)
        site.nothing_is_left(rabbitmq)
    finally:
        rabbitmq.set_ack_timeout(1_800_000, tick_ms=60_000)


def test_a_memory_alarm_longer_than_any_patience(site: BrokerSite, rabbitmq: RabbitServer) -> None:
    """A park waits for its end; the task behind it goes to nobody meanwhile, and is not lost."""
    site.publish(max_retry_count=1, data={"fail_until": 1, "until": str(site.finish_file())})
    site.publish(task_id="next")
    worker = site.worker()
    worker.wait_for_diary("start t 1")
    rabbitmq.run("set_vm_memory_high_watermark", "absolute", "1")
    try:
        site.finish_file().touch()
        worker.wait_for_log("the broker takes no messages until its alarm is over")
        worker.wait_for_log("broker unavailable, trying again until it answers", timeout_s=60)
        worker.wait_for_log("broker connection lost", timeout_s=60)
        eventually(lambda: worker.log().count("the broker takes no messages") >= 2, 60, "it tries again")
        assert site.task().status is TaskStatus.RETRYING
        assert worker.log().count("broker unavailable") == 1
    finally:
        rabbitmq.run("set_vm_memory_high_watermark", "0.4")
    worker.wait_for_log("broker available again", timeout_s=60)
    site.succeeded(attempt=2)
    site.succeeded("next")
    site.nothing_is_left(rabbitmq)


def test_tasks_run_once_each_however_often_their_broker_dies(
    site: BrokerSite, proxy: TcpProxy, rabbitmq: RabbitServer
) -> None:
    """Cuts, hangs and kills under load, at random moments."""
    chance = random.Random()
    for _ in range(3):
        site.worker(**site.through(proxy, heartbeat="2"))
    task_ids: list[str] = []
    deeds = [rabbitmq.restart, *[proxy.cut] * 4, lambda: hang_for(proxy, 1), lambda: hang_for(proxy, 20)]
    chance.shuffle(deeds)
    for deed in deeds * 2:
        batch = [f"task-{len(task_ids) + number}" for number in range(20)]
        task_ids += batch
        for task_id in batch:
            retries = chance.choice([0, 0, 0, 1])
            site.publish(
                task_id=task_id, max_retry_count=retries, data={"sleep": chance.random() / 4, "fail_until": retries}
            )
        threading.Event().wait(chance.random() * 2)
        deed()
    eventually(lambda: all(map(site.is_final, task_ids)), 240, "all tasks are final")
    for task_id in task_ids:
        task = site.client.get_task(task_id)
        assert task is not None
        site.succeeded(task_id, attempt=task.max_retry_count + 1)
    site.nothing_is_left(rabbitmq)
    print(f"{len(task_ids)} tasks, {len(site.starts())} attempts, {2 * len(deeds)} faults")


def hang_for(proxy: TcpProxy, seconds: float) -> None:
    proxy.hang()
    threading.Event().wait(seconds)
    proxy.resume()
