"""From the publish of a message to the start of its handler on an idle worker, beside pika alone."""

from __future__ import annotations

import statistics
import sys
import time

from benchmarks.contenders import plain_environment, worker_command, worker_environment
from benchmarks.figures import Figure, Result, at_most
from benchmarks.processes import Measured
from benchmarks.rounds import Effort
from benchmarks.site import Site, channel_to, new_queue, remove, send, wait_for_consumers

#: seconds between two messages: both consumers are idle again by then
PAUSE_S = 0.03
WARM_UP = 5


def measure(site: Site, effort: Effort) -> Result:
    wanted = effort.rounds * effort.latencies
    ours, theirs = new_queue(), new_queue()
    alone = [sys.executable, "-m", "benchmarks.contenders.pika_consumer"]
    tasks = (1, wanted + WARM_UP)
    with channel_to(site.amqp_url) as channel:
        for queue in (ours, theirs):
            channel.queue_declare(queue, durable=True)
        with (
            Measured(site, worker_command("handlers:Punctual"), worker_environment(site, ours), tasks) as worker,
            Measured(site, alone, plain_environment(site, theirs), tasks) as pika_alone,
        ):
            for queue in (ours, theirs):
                wait_for_consumers(channel, queue, 1)
            for _ in range(tasks[1]):
                for queue in (ours, theirs):
                    send(channel, queue, {"sent_at": time.perf_counter()})
                    channel.connection.process_data_events(PAUSE_S)
            worker_ms, pika_ms = (
                _medians_ms(process.report()[WARM_UP:], effort.rounds) for process in (worker, pika_alone)
            )
    for queue in (ours, theirs):
        remove(site.amqp_url, queue)
    above = [mine - other for mine, other in zip(worker_ms, pika_ms, strict=True)]
    return Result(
        [
            Figure("publish to callback, pika alone", "ms", pika_ms),
            Figure("publish to handler, idle worker", "ms", worker_ms),
            Figure("publish to handler above pika's own", "ms", above, at_most(2)),
        ]
    )


def _medians_ms(seconds: list[float], rounds: int) -> list[float]:
    """One of each round."""
    size = len(seconds) // rounds
    return [statistics.median(seconds[n * size : (n + 1) * size]) * 1000 for n in range(rounds)]
