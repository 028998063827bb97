"""Tasks a second: the worker, the raw loop, Celery and Dramatiq; and what a task costs the worker's processor."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.contenders import CELERY, DRAMATIQ, RAW_LOOP, WORKER, Contender
from benchmarks.figures import Figure, Result, at_least, at_most, ratios
from benchmarks.processes import Measured
from benchmarks.rounds import Effort, interleaved
from benchmarks.site import Site, new_queue, remove

PREFETCHES = (1, 50)
GOALS = {1: (at_least(0.95), at_most(0.9)), 50: (at_least(2.5), at_most(0.4))}


@dataclass(frozen=True)
class Speed:
    tasks_per_s: float
    cpu_ms: float


def measure(site: Site, effort: Effort) -> Result:
    contenders = [WORKER, RAW_LOOP, *(peer for peer in (CELERY, DRAMATIQ) if _is_installed(peer))]
    runs: dict[str, Callable[[], Speed]] = {
        f"{contender.name} {prefetch}": _run_of(site, contender, prefetch, effort.tasks)
        for prefetch in PREFETCHES
        for contender in contenders
    }
    speeds = interleaved(effort.rounds, runs)
    rates = {name: [speed.tasks_per_s for speed in found] for name, found in speeds.items()}
    figures = []
    for prefetch in PREFETCHES:
        rate_goal, cpu_goal = GOALS[prefetch]
        raw = rates[f"{RAW_LOOP.name} {prefetch}"]
        for contender in contenders:
            rate = rates[f"{contender.name} {prefetch}"]
            figures.append(Figure(f"{contender.name}, prefetch {prefetch}", "tasks/s", rate))
            if contender is not RAW_LOOP:
                goal = rate_goal if contender is WORKER else None
                name = f"{contender.name} : raw loop, prefetch {prefetch}"
                figures.append(Figure(name, "x", ratios(rate, raw), goal))
        for contender in (WORKER, RAW_LOOP):
            cpu = [speed.cpu_ms for speed in speeds[f"{contender.name} {prefetch}"]]
            name = f"processor time a task, {contender.name}, prefetch {prefetch}"
            figures.append(Figure(name, "ms", cpu, cpu_goal if contender is WORKER else None))
    return Result(figures)


def speed_of(site: Site, contender: Contender, prefetch: int, tasks: int, queue: str | None = None) -> Speed:
    """From one task in the middle of the flow to another. A queue that is given has to be full enough, and stays."""
    warm_up = 20 + tasks // 10
    first, last = warm_up, warm_up + tasks
    used = queue or new_queue()
    if queue is None:
        contender.fill(site, used, last + warm_up)
    command, environment = contender.command(used), contender.environment(site, used, prefetch)
    with Measured(site, command, environment, (first, last)) as process:
        report = process.report()
    if queue is None:
        remove(site.amqp_url, used)
    ticks = report["ticks"]
    return Speed(tasks / (ticks[-1] - ticks[0]), report["cpu_s"] / tasks * 1000)


def _run_of(site: Site, contender: Contender, prefetch: int, tasks: int) -> Callable[[], Speed]:
    return lambda: speed_of(site, contender, prefetch, max(20, int(tasks * contender.share)))


def _is_installed(peer: Contender) -> bool:
    return importlib.util.find_spec(peer.name.lower()) is not None
