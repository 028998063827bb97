"""Tasks that come one by one, each at about the moment at which an idle worker decides to leave."""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass

import pika

from tests.waiting import eventually
from tests.worker_process import WorkerProcess
from tests.worker_site import Site

#: seconds around the end of the idle time within which the next task is sent
BEFORE_S, AFTER_S = 0.15, 0.35


@dataclass
class Trickle:
    """What came of it."""

    workers: list[WorkerProcess]
    #: tasks that found the worker before them still there
    taken_by_the_same: int

    def assert_all_left_in_peace(self) -> None:
        for worker in self.workers:
            assert worker.ended() == 0, worker.log()


def run_trickle(site: Site, tasks: int, *, idle_timeout: float, randomness: random.Random) -> Trickle:
    """A worker is started whenever a message is ready and none runs, as KEDA does it. All tasks have been run then."""
    workers: list[WorkerProcess] = []
    taken_by_the_same = 0
    with pika.BlockingConnection(pika.URLParameters(site.settings["amqp_url"])) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        queue = site.settings["queue"]
        channel.queue_declare(queue, durable=True)

        def scale() -> None:
            if workers and workers[-1].process.poll() is None:
                return
            if channel.queue_declare(queue, passive=True).method.message_count:
                workers.append(site.worker(idle_timeout=idle_timeout))

        for number in range(tasks):
            body = json.dumps({"task_id": f"task-{number}"}).encode()
            channel.basic_publish("", queue, body, pika.BasicProperties(delivery_mode=2))
            before = len(workers)

            def has_run(line: str = f"end task-{number} 1") -> bool:
                scale()
                return line in site.diary()

            eventually(has_run, 60, f"task {number} of {tasks} has run")
            taken_by_the_same += len(workers) == before
            connection.sleep(max(0.0, idle_timeout + randomness.uniform(-BEFORE_S, AFTER_S)))
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and workers[-1].process.poll() is None:
            connection.sleep(0.05)
    return Trickle(workers, taken_by_the_same)
