"""`report_progress` in a tight loop: how many calls a second, and how many of them become writes."""

from __future__ import annotations

from benchmarks.contenders import plain_environment, worker_command, worker_environment
from benchmarks.figures import Figure, Result, at_least, at_most
from benchmarks.processes import Measured
from benchmarks.rounds import Effort
from benchmarks.site import Site, fill, new_queue, remove

INTERVAL_S = 0.5


def measure(site: Site, effort: Effort) -> Result:
    queue = new_queue()
    fill(site.amqp_url, queue, effort.rounds, {"seconds": effort.progress_s})
    environment = {
        **worker_environment(site, queue, progress_interval=INTERVAL_S),
        **plain_environment(site, queue),
    }
    with Measured(site, worker_command("handlers:Talkative"), environment, (1, effort.rounds)) as process:
        rounds = process.report()
    remove(site.amqp_url, queue)
    return Result(
        [
            Figure("report_progress", "calls/s", [each["calls"] / each["seconds"] for each in rounds], at_least(500e3)),
            Figure(
                "writes of progress an interval, after the first",
                "",
                [(each["writes"] - 1) / (each["seconds"] / INTERVAL_S) for each in rounds],
                at_most(1),
            ),
        ]
    )
