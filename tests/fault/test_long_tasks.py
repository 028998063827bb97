"""Tasks that run for longer than anything around them lasts, and those that must not wait for them."""

from __future__ import annotations

import json
from pathlib import Path

import pika

from grid_async_task import TaskStatus
from tests.fault.broker_site import open_broker_site
from tests.servers.mariadb import OwnMariaDb
from tests.servers.rabbitmq import RabbitServer
from tests.waiting import eventually

IMPATIENT = "tests.handlers:AckTimeoutOfOneSecond"


def test_a_task_outlives_an_ack_timeout_a_broker_restart_and_a_database_outage_at_its_end(
    tmp_path: Path, rabbitmq: RabbitServer, mariadb_own: OwnMariaDb
) -> None:
    mysql_url = mariadb_own.url(mariadb_own.new_database())
    # until the broker's restart
    rabbitmq.set_ack_timeout(1000, tick_ms=500)
    with open_broker_site(tmp_path, rabbitmq.url, mysql_url) as site:
        site.publish(data={"until": str(site.finish_file())})
        worker = site.worker(IMPATIENT)
        worker.wait_for_diary("start t 1")
        other = site.worker()
        other.wait_for_log("worker started")

        worker.wait_for_log("the broker closed the channel; what it had delivered comes again")
        other.wait_for_log("message received")

        rabbitmq.restart()
        worker.wait_for_log("broker connected")

        mariadb_own.kill()
        site.finish_file().touch()
        worker.wait_for_diary("end t 1")
        worker.wait_for_log("database unavailable, trying again until it answers")
        mariadb_own.start()
        worker.wait_for_log("database available again")

        site.succeeded()
        site.nothing_is_left(rabbitmq)


def test_what_was_fetched_behind_a_long_task_goes_to_a_free_worker_also_on_a_quorum_queue(
    tmp_path: Path, rabbitmq: RabbitServer, mysql_url: str
) -> None:
    with open_broker_site(tmp_path, rabbitmq.url, mysql_url, prefetch_count=10, lease_seconds=60) as site:
        short = [f"short-{number}" for number in range(5)]
        with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
            channel = connection.channel()
            channel.queue_declare(site.queue, durable=True, arguments={"x-queue-type": "quorum"})
            for task_id in ("t", *short):
                data = {"until": str(site.finish_file())} if task_id == "t" else {}
                channel.basic_publish("", site.queue, json.dumps({"task_id": task_id, "data": data}).encode())
        busy = site.worker()
        busy.wait_for_diary("start t 1")
        free = site.worker()
        for task_id in short:
            free.wait_for_diary(f"end {task_id} 1")
        assert site.task().status is TaskStatus.RUNNING
        assert all(f'"task_id": "{task_id}"' in free.log() for task_id in short)
        site.finish_file().touch()
        for task_id in ("t", *short):
            site.succeeded(task_id)
        eventually(lambda: site.messages() == 0)
