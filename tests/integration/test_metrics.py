"""Metrics of real workers on real servers, as Prometheus scrapes them."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pika
import pytest
from prometheus_client.parser import text_string_to_metric_families

from grid_async_task import ConfigurationError, Settings, TaskHandler, TaskProducer, bootstrap
from grid_async_task.adapters.prometheus.labels import BoundedLabel
from grid_async_task.domain.task import CallbackStatus, TaskStatus
from tests.servers.http_receiver import HttpReceiver
from tests.servers.ports import free_port
from tests.servers.tcp_proxy import TcpProxy
from tests.waiting import eventually
from tests.worker_site import Site, open_site

PREFIX = "grid_async_task_"


@pytest.fixture
def site(tmp_path: Path, amqp_url: str, mysql_url: str) -> Iterator[Site]:
    with open_site(tmp_path, amqp_url, mysql_url) as site:
        yield site


class Scrape:
    """The samples of one moment."""

    def __init__(self, port: int) -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            self.text = answer.read().decode()
        self._samples = [
            (sample.name, sample.labels, sample.value)
            for family in text_string_to_metric_families(self.text)
            for sample in family.samples
        ]

    def __call__(self, name: str, **labels: str) -> float | None:
        """The sum of the samples with these labels; None where there are none."""
        values = [
            value for found, its, value in self._samples if found == PREFIX + name and labels.items() <= its.items()
        ]
        return sum(values) if values else None

    def queues(self) -> set[str]:
        return {labels["queue"] for name, labels, _ in self._samples if name.startswith(PREFIX)}


def scrape(port: int) -> Scrape | None:
    try:
        return Scrape(port)
    except OSError:
        return None


def until(port: int, is_so: Any, what: str) -> Scrape:
    def look() -> Scrape | None:
        metrics = scrape(port)
        return metrics if metrics is not None and is_so(metrics) else None

    return eventually(look, 60, what)  # type: ignore[return-value]


def put_bad_message(site: Site) -> None:
    with pika.BlockingConnection(pika.URLParameters(site.settings["amqp_url"])) as connection:
        connection.channel().basic_publish("", site.settings["queue"], b"no json")


def test_a_worker_says_what_it_does(site: Site, tmp_path: Path) -> None:
    port, go_on = free_port(), tmp_path / "go on"
    with HttpReceiver() as receiver:
        receiver.answer_with([503, 200])
        with TaskProducer(settings=Settings(**site.settings)) as producer:
            producer.send_task({"task_type": "report", "callback_url": receiver.url}, "report")
        site.publish(task_id="fails", task_type="flaky", data={"fail_until": 9}, max_retry_count=1)
        site.publish(task_id="recovers", task_type="flaky", data={"fail_until": 1}, max_retry_count=1)
        put_bad_message(site)
        site.publish(task_id="long", task_type="report", data={"until": str(go_on)})
        site.worker(metrics_port=port, retry_delay=1).wait_for_diary("start long 1", 60)
        metrics = until(port, lambda metrics: metrics("running") == 1, "the long task runs")
        assert metrics.queues() == {site.settings["queue"]}
        assert metrics("tasks_total", task_type="report", outcome="failed") == 0, "an increase needs a beginning"
        go_on.touch()
        metrics = until(
            port,
            lambda metrics: (
                metrics("running") == 0
                and metrics("tasks_total", outcome="success") == 3
                and metrics("tasks_total", outcome="failed") == 1
                and metrics("callback_tries_total", result="sent") == 1
            ),
            "all is done",
        )
    assert metrics("tasks_total", task_type="report", outcome="success") == 2
    assert metrics("tasks_total", task_type="flaky", outcome="success") == 1
    assert metrics("tasks_total", task_type="flaky", outcome="retry") == 2
    assert metrics("handler_seconds_count", task_type="flaky") == 4
    assert metrics("handler_seconds_count", task_type="report") == 2
    assert (metrics("wait_seconds_count", task_type="report") or 0) <= 1, "of the other one nobody had a record"
    assert metrics("wait_seconds_count", task_type="flaky") is None
    assert metrics("callback_tries_total", type="http", result="failed") == 1
    assert metrics("dead_letters_total", reason="not_json") == 1
    assert metrics("claims_lost_total") == metrics("takeovers_total") == 0
    assert "process_resident_memory_bytes" in metrics.text


def test_short_tasks_are_counted_in_groups(site: Site) -> None:
    port = free_port()
    with TaskProducer(record_pending=False, settings=Settings(**site.settings)) as producer:
        producer.batch_send_tasks([{"data": {}}] * 200)
    site.worker(metrics_port=port, prefetch_count=50)
    metrics = until(port, lambda metrics: metrics("tasks_total", outcome="success") == 200, "200 tasks")
    assert metrics("group_size_count")
    assert 2 <= (metrics("group_size_sum") or 0) <= 200


def test_a_broken_connection_is_counted(site: Site) -> None:
    port = free_port()
    parameters = pika.URLParameters(site.settings["amqp_url"])
    proxy = TcpProxy(parameters.host, parameters.port)
    try:
        through = site.settings["amqp_url"].replace(f":{parameters.port}", f":{proxy.port}")
        worker = site.worker(metrics_port=port, amqp_url=through)
        site.publish(task_id="t")
        worker.wait_for_diary("end t 1")
        assert until(port, lambda metrics: True, "it serves")("connections_lost_total") == 0
        proxy.cut()
        until(port, lambda metrics: metrics("connections_lost_total", to="source") == 1, "the loss is counted")
    finally:
        proxy.refuse()
        proxy.cut()


# -- the queue as a whole -------------------------------------------------------------------------------


@pytest.fixture
def exporter(site: Site) -> Iterator[Any]:
    """Starts `grid-async-task metrics`; its port and its process."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(**settings: Any) -> tuple[int, subprocess.Popen[bytes]]:
        port = free_port()
        command = [sys.executable, "-m", "grid_async_task.cli", "metrics", "--port", str(port)]
        worker = site.worker(command=command, **settings)
        processes.append(worker.process)
        return port, worker.process

    return start


def test_a_queue_without_a_worker_is_seen(site: Site, exporter: Any) -> None:
    with TaskProducer(settings=Settings(**site.settings)) as producer:
        producer.batch_send_tasks([{"data": {}}] * 3)
    put_bad_message(site)
    port, process = exporter()
    queue = site.settings["queue"]
    metrics = until(port, lambda metrics: metrics("queue_ready", queue=queue) == 4, "four messages wait")
    assert metrics("queue_consumers", queue=queue) == 0
    assert metrics("dead_letters_waiting", queue=queue) == 0
    assert [metrics("backlog_tasks", status=status) for status in ("pending", "running", "retrying")] == [3, 0, 0]
    assert (metrics("oldest_waiting_seconds", queue=queue) or 0) > 0
    assert metrics("callbacks_due") == metrics("oldest_callback_seconds") == 0
    assert metrics("reachable", server="broker") == metrics("reachable", server="database") == 1
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert site.messages() == 4, "it took none"


def test_what_is_owed_is_seen(site: Site, exporter: Any) -> None:
    with HttpReceiver() as receiver:
        receiver.answer_with([503] * 50)
        site.publish(callback_url=receiver.url)
        put_bad_message(site)
        site.worker(callback_retry_count=40)
        receiver.wait_for(1, 60)
        site.wait_for(TaskStatus.SUCCESS)
        assert site.task().callback_status is CallbackStatus.DUE
        port, _ = exporter()
        metrics = until(
            port,
            lambda metrics: (
                metrics("callbacks_due") == metrics("dead_letters_waiting") == metrics("queue_consumers") == 1
            ),
            "the callback is due, and a letter dead",
        )
        assert (metrics("oldest_callback_seconds") or 0) > 0


def test_servers_that_are_away_are_seen_as_away(exporter: Any) -> None:
    nobody = free_port()
    port, process = exporter(
        amqp_url=f"amqp://guest:guest@127.0.0.1:{nobody}/",
        mysql_url=f"mysql+pymysql://u:p@127.0.0.1:{nobody}/d",
        publish_timeout=1,
    )
    metrics = until(port, lambda metrics: metrics("reachable", server="broker") == 0, "it says so")
    assert metrics("reachable", server="database") == 0
    assert metrics("queue_ready") is metrics("backlog_tasks") is metrics("dead_letters_waiting") is None
    assert process.poll() is None


# -- small parts ----------------------------------------------------------------------------------------


def test_a_port_that_is_taken_is_a_matter_of_configuration() -> None:
    with HttpReceiver() as taken:
        settings = Settings(amqp_url="memory://", queue="q", mysql_url="memory://", metrics_port=taken.port)
        with pytest.raises(ConfigurationError, match=f"METRICS_PORT: can't listen on port {taken.port}"):
            bootstrap.create_worker(TaskHandler(), settings=settings).run()


def test_a_label_from_outside_has_a_bounded_number_of_values() -> None:
    label = BoundedLabel(2)
    assert [label(value) for value in ("a", "b", "c", "a", "c")] == ["a", "b", "other", "a", "other"]
