"""Celery as near to our promises as its settings bring it: late acks, started state, results in the same database."""

from __future__ import annotations

import os
import sys

from celery import Celery

from benchmarks.stopwatch import Stopwatch

app = Celery("bench", broker=os.environ["BENCH_AMQP_URL"], backend="db+" + os.environ["BENCH_MYSQL_URL"])
app.conf.update(
    task_acks_late=True,
    task_track_started=True,
    task_default_queue=os.environ["BENCH_QUEUE"],
    worker_prefetch_multiplier=int(os.environ["BENCH_PREFETCH"]),
    broker_connection_retry_on_startup=True,
)
watch = Stopwatch.from_environment()


@app.task(name="noop")
def noop(n: int) -> None:
    watch.tick()


if __name__ == "__main__":
    for _ in range(int(sys.argv[1])):
        app.send_task("noop", (1,))
