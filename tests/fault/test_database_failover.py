"""A database that hangs: the living worker's task is not run twice, whoever reaches the database first."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from grid_async_task import TaskStatus
from tests.fault.test_worker_faults import Site
from tests.servers.rabbitmq import new_queue_name
from tests.servers.tcp_proxy import TcpProxy
from tests.waiting import eventually

#: seconds; others watch an expired lease for 5 s before they take it over
LEASE_S, WATCH_S = 12, 5


@pytest.fixture
def proxy(mysql_url: str) -> Iterator[TcpProxy]:
    url = make_url(mysql_url)
    with TcpProxy(str(url.host), url.port or 3306) as proxy:
        yield proxy


@pytest.fixture
def site(tmp_path: Path, amqp_url: str, mysql_url: str) -> Iterator[Site]:
    site = Site(
        tmp_path,
        {"amqp_url": amqp_url, "queue": new_queue_name(), "mysql_url": mysql_url, "lease_seconds": LEASE_S},
    )
    yield site
    for worker in site.workers:
        worker.__exit__(None, None, None)
    site.client.close()


def through(proxy: TcpProxy, site: Site) -> str:
    url = make_url(site.settings["mysql_url"]).set(host="127.0.0.1", port=proxy.port)
    return url.render_as_string(hide_password=False)


def finish_and_check(site: Site) -> None:
    assert site.starts() == ["start t 1"]
    site.finish_file().touch()
    task = site.wait_for(TaskStatus.SUCCESS)
    assert (task.attempt, task.crash_count) == (1, 0)


def test_a_connection_that_dies_in_silence_costs_no_task_its_worker(site: Site, proxy: TcpProxy) -> None:
    site.publish(data={"until": str(site.finish_file())})
    alive = site.worker(mysql_url=through(proxy, site))
    alive.wait_for_diary("start t 1")
    proxy.hang()
    proxy.fail_over()  # new connections work at once; the one that the worker has never answers again
    other = site.worker()
    other.wait_for_log("worker started")
    site.publish(data={"until": str(site.finish_file())})  # a second ticket, which the other worker gets
    eventually(lambda: "heartbeat works again" in alive.log(), LEASE_S, "the worker renews over a new connection")
    # by now the other would have taken over a lease that nobody renews
    threading.Event().wait(LEASE_S + 2 * WATCH_S)
    finish_and_check(site)


def test_a_failover_after_a_hang_longer_than_the_lease(site: Site, proxy: TcpProxy) -> None:
    site.publish(data={"until": str(site.finish_file())})
    alive = site.worker(mysql_url=through(proxy, site))
    alive.wait_for_diary("start t 1")
    other = site.worker(mysql_url=through(proxy, site))
    other.wait_for_log("worker started")
    proxy.hang()
    site.publish(data={"until": str(site.finish_file())})
    other.wait_for_log("database unavailable")
    threading.Event().wait(LEASE_S + WATCH_S)
    proxy.fail_over()
    for worker, says in ((alive, "heartbeat works again"), (other, "database available again")):
        worker.wait_for_log(says)
    threading.Event().wait(2 * WATCH_S)
    finish_and_check(site)
