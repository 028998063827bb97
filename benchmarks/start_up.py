"""From the start of a worker to its first task, and its memory while idle, beside a bare script."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

from benchmarks.contenders import WORKER, plain_environment
from benchmarks.figures import Figure, Result, at_most, ratios
from benchmarks.processes import Measured
from benchmarks.rounds import Effort, interleaved
from benchmarks.site import Site, fill, new_queue, remove

#: seconds until a process is idle
SETTLE_S = 1.0


@dataclass(frozen=True)
class Started:
    seconds: float
    cpu_s: float
    memory_mb: dict[str, float]


def measure(site: Site, effort: Effort) -> Result:
    _worker(site)  # migrates the table
    found = interleaved(effort.starts, {"bare": lambda: _bare(site), "worker": lambda: _worker(site)})
    bare, worker = found["bare"], found["worker"]
    figures = [
        Figure("start, bare script", "ms", [each.seconds * 1000 for each in bare]),
        Figure("start, worker to its first task", "ms", [each.seconds * 1000 for each in worker]),
        Figure(
            "start, worker : bare script",
            "x",
            ratios([each.seconds for each in worker], [each.seconds for each in bare]),
            at_most(1.4),
        ),
        Figure(
            "processor time of the start, worker : bare script",
            "x",
            ratios([each.cpu_s for each in worker], [each.cpu_s for each in bare]),
        ),
    ]
    for kind, goal in (("uss", at_most(15)), ("pss", None), ("rss", None)):
        more = [mine.memory_mb[kind] - other.memory_mb[kind] for mine, other in zip(worker, bare, strict=True)]
        figures.append(Figure(f"memory of an idle worker above the bare script ({kind.upper()})", "MB", more, goal))
    figures.append(Figure("memory of an idle worker (USS)", "MB", [each.memory_mb["uss"] for each in worker]))
    return Result(figures)


def _bare(site: Site) -> Started:
    command = [sys.executable, "-m", "benchmarks.contenders.bare"]
    with Measured(site, command, plain_environment(site, ""), (1, 1)) as process:
        return _started(process)


def _worker(site: Site) -> Started:
    queue = new_queue()
    fill(site.amqp_url, queue, 1)
    with Measured(site, WORKER.command(queue), WORKER.environment(site, queue, 1), (1, 1)) as process:
        started = _started(process)
    remove(site.amqp_url, queue)
    return started


def _started(process: Measured) -> Started:
    report = process.report()
    time.sleep(SETTLE_S)
    return Started(report["ticks"][0] - process.started_at, report["cpu_s"], process.memory_mb())
