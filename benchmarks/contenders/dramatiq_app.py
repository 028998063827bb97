"""Dramatiq, which stores nothing: no state, no result."""

from __future__ import annotations

import os
import sys

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from benchmarks.stopwatch import Stopwatch

dramatiq.set_broker(RabbitmqBroker(url=os.environ["BENCH_AMQP_URL"]))
watch = Stopwatch.from_environment()


@dramatiq.actor(queue_name=os.environ["BENCH_QUEUE"])
def noop(n: int) -> None:
    watch.tick()


if __name__ == "__main__":
    for _ in range(int(sys.argv[1])):
        noop.send(1)
    noop.broker.close()
