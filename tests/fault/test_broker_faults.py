"""What happens to a broker, and to the way there, while real workers run tasks: no task runs for that once more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pika
import pytest

from grid_async_task import TaskStatus
from tests.fault.broker_site import BrokerSite, open_broker_site
from tests.servers.rabbitmq import RabbitServer
from tests.servers.tcp_proxy import TcpProxy, proxy_to
from tests.waiting import eventually

#: how the statement that commits a success can be told from all others
SUCCESS = b"status='success'"
#: how a ticket that is parked for a second goes over the wire, and what an acknowledgement begins with
PARK, BASIC_ACK = b"grid_async_task.delay.0\x420.0.", bytes([0, 60, 0, 80])


@pytest.fixture
def site(tmp_path: Path, rabbitmq: RabbitServer, mysql_url: str) -> Iterator[BrokerSite]:
    with open_broker_site(tmp_path, rabbitmq.url, mysql_url) as site:
        yield site


@pytest.fixture
def proxy(site: BrokerSite) -> Iterator[TcpProxy]:
    """The way to the broker."""
    with proxy_to(site.settings["amqp_url"]) as proxy:
        yield proxy


def test_a_broker_that_dies_at_the_commit_of_an_outcome(site: BrokerSite, rabbitmq: RabbitServer) -> None:
    """One task succeeds at this moment; another fails while the broker is down, and has a retry to park."""
    site.publish(task_id="retried", max_retry_count=1, data={"until": str(site.finish_file()), "fail_until": 1})
    failing = site.worker()
    failing.wait_for_diary("start retried 1")
    with proxy_to(site.settings["mysql_url"]) as to_database:
        to_database.on_client_bytes(SUCCESS, rabbitmq.stop)  # dead before the worker reads that it has committed
        site.publish()
        succeeding = site.worker(**site.through(to_database, "mysql_url"))
        succeeding.wait_for_log("task succeeded")
        site.finish_file().touch()
        failing.wait_for_log("attempt failed")
        rabbitmq.start()
        for worker in (succeeding, failing):
            worker.wait_for_log("broker connection lost")
            worker.wait_for_log("broker connected")
        site.succeeded("t")
        site.succeeded("retried", attempt=2)
        site.nothing_is_left(rabbitmq)


def test_a_connection_that_breaks_with_the_acknowledgement(
    site: BrokerSite, proxy: TcpProxy, rabbitmq: RabbitServer
) -> None:
    proxy.on_client_bytes(BASIC_ACK, proxy.cut)
    site.publish()
    worker = site.worker(**site.through(proxy))
    worker.wait_for_log("broker connection lost")
    site.succeeded()
    site.publish(task_id="next")
    site.succeeded("next")
    site.nothing_is_left(rabbitmq)


def test_a_confirm_that_is_lost_leads_to_no_second_retry(
    site: BrokerSite, proxy: TcpProxy, rabbitmq: RabbitServer
) -> None:
    """The broker has the parked ticket and the worker does not know: there are two of them then."""
    proxy.on_client_bytes(PARK, proxy.cut)
    site.publish(max_retry_count=5, data={"fail_until": 1})
    worker = site.worker(**site.through(proxy))
    worker.wait_for_log("the connection was lost before the broker confirmed")
    worker.wait_for_log("broker available again")
    site.succeeded(attempt=2)
    site.nothing_is_left(rabbitmq)


def test_a_broker_out_of_reach_from_the_middle_of_a_task_to_after_its_end(
    site: BrokerSite, proxy: TcpProxy, rabbitmq: RabbitServer
) -> None:
    site.publish(data={"until": str(site.finish_file())})
    worker = site.worker(**site.through(proxy))
    worker.wait_for_diary("start t 1")
    other = site.worker()
    other.wait_for_log("worker started")
    proxy.refuse()
    proxy.cut()
    worker.wait_for_log("broker connection lost")
    eventually(lambda: site.parked() == 1, what="the other gets the message, and leaves the task alone")
    site.finish_file().touch()
    worker.wait_for_log("task succeeded")
    assert "broker connected" not in worker.log()
    proxy.accept()
    worker.wait_for_log("broker connected")
    # once, though it tried often; its other connection may have noticed, too
    troubles = [*worker.said("broker connection lost"), *worker.said("broker not reachable, trying on")]
    of_source = [line for line in troubles if line["role"].startswith("source")]
    assert (len(of_source), len(troubles) - len(of_source)) in ((1, 0), (1, 1)), troubles
    site.succeeded()
    site.nothing_is_left(rabbitmq)


def test_a_queue_that_is_deleted_under_its_consumer(site: BrokerSite, rabbitmq: RabbitServer) -> None:
    """What lay in it is gone, but what a worker had in hand goes its way, over a retry too."""
    site.publish(max_retry_count=1, data={"until": str(site.finish_file()), "fail_until": 1})
    worker = site.worker()
    worker.wait_for_diary("start t 1")
    with pika.BlockingConnection(pika.URLParameters(site.settings["amqp_url"])) as connection:
        connection.channel().queue_delete(site.settings["queue"])
    worker.wait_for_log("the broker ended the subscription, most likely the queue was deleted")
    site.finish_file().touch()
    site.succeeded(attempt=2)
    site.publish(task_id="next")
    site.succeeded("next")
    site.nothing_is_left(rabbitmq)


def test_under_a_memory_alarm_acks_go_through_and_parks_wait(site: BrokerSite, rabbitmq: RabbitServer) -> None:
    site.publish(data={"until": str(site.finish_file())})
    site.publish(task_id="retried", max_retry_count=1, data={"fail_until": 1})
    worker = site.worker()
    worker.wait_for_diary("start t 1")
    rabbitmq.run("set_vm_memory_high_watermark", "absolute", "1")
    try:
        site.finish_file().touch()
        worker.wait_for_diary("start retried 1")  # with a prefetch of 1: the acknowledgement of the first has come
        worker.wait_for_log("the broker takes no messages until its alarm is over")
        retried = site.client.get_task("retried")
        assert retried is not None
        assert retried.status is TaskStatus.RETRYING
    finally:
        rabbitmq.run("set_vm_memory_high_watermark", "0.4")
    worker.wait_for_log("the broker takes messages again")
    site.succeeded()
    site.succeeded("retried", attempt=2)
    site.nothing_is_left(rabbitmq)
