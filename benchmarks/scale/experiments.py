"""The questions that are put to the model."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.scale.autoscaler import Autoscaler, Scaling
from benchmarks.scale.model import Load, Site, System
from benchmarks.scale.service_times import RealRun, ServiceTimes
from benchmarks.scale.stations import Steps

WORKERS = (1, 10, 100, 1000, 10_000)
TASKS_S = (0.01, 10.0, 3600.0)
#: seconds that are let pass before counting
WARM_UP_S = 5.0
#: about so many tasks are counted, or so many seconds of all workers together, or so many seconds
COUNTED_TASKS, COUNTED_WORKER_S, COUNTED_MOST_S = 20_000, 400_000.0, 36_000.0


@dataclass(frozen=True)
class Throughput:
    """A steady state with always a task for each worker."""

    load: Load
    site: Site
    tasks_per_s: float
    database_busy: float
    broker_busy: float
    claim_p99_s: float
    #: a second, by what they are for
    statements: dict[str, float]
    commits_per_flush: float


def throughput(times: ServiceTimes, site: Site, load: Load) -> Throughput:
    system = System(times, site, load, endless=True)
    for _ in range(load.workers):
        system.start_worker(in_mid_task=True)
    tasks_s = COUNTED_TASKS * max(load.task_s, 0.001) / load.workers
    counted_s = min(tasks_s, COUNTED_WORKER_S / load.workers, COUNTED_MOST_S)
    counted_s = max(2.0, counted_s)
    system.env.run(WARM_UP_S)
    system.count_from_now()
    system.env.run(WARM_UP_S + counted_s)
    statements = {what: number / counted_s for what, number in system.database.statements.items()}
    commits = sum(
        number for what, number in system.database.statements.items() if what in ("claim", "outcome", "heartbeat")
    )
    return Throughput(
        load=load,
        site=site,
        tasks_per_s=len(system.done) / counted_s,
        database_busy=system.database_cores.utilisation,
        broker_busy=system.broker_cores.utilisation,
        claim_p99_s=percentile(system.claim_times, 99),
        statements=statements,
        commits_per_flush=commits / max(1, system.database.flushes),
    )


def percentile(values: Sequence[float], percent: int) -> float:
    """0 where there are none."""
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)] if values else 0.0


@dataclass(frozen=True)
class Wakening:
    """Tasks that come while no worker runs."""

    scaling: Scaling
    tasks: int
    #: seconds from a message to its handler, of each run the first one and the last one
    first_s: list[float]
    last_s: list[float]
    #: pods for each task, and those of them that had none
    started: float
    wasted: float
    #: seconds in which pods waited for tasks, for each task
    idle_s: float


def wakening(times: ServiceTimes, scaling: Scaling, *, tasks: int, runs: int, task_s: float = 10.0) -> Wakening:
    """A burst at any moment between two polls; measured until all pods are gone."""
    first, last, started, wasted, idle_s = [], [], 0, 0, 0.0
    for run in range(runs):
        system = System(times, Site(), Load(scaling.max_workers, task_s), endless=False, seed=run)
        autoscaler = Autoscaler(system, scaling)
        came_at = scaling.polling_s + system.randomness.uniform(0, scaling.polling_s)

        def burst(system: System = system, came_at: float = came_at) -> Steps:
            yield system.env.timeout(came_at)
            for task in range(tasks):
                system.broker.publish(task)

        system.env.process(burst())
        system.env.run(came_at + 3600)
        assert len(system.done) == tasks
        waits = [began - came_at for began in system.began_at.values()]
        first.append(min(waits))
        last.append(max(waits))
        started += autoscaler.started
        wasted += autoscaler.wasted
        idle_s += autoscaler.idle_s
    total = tasks * runs
    return Wakening(scaling, tasks, first, last, started / total, wasted / total, idle_s / total)


@dataclass(frozen=True)
class Trickle:
    """Single tasks, some time apart, for hours."""

    scaling: Scaling
    apart_s: float
    wait_p50_s: float
    wait_p95_s: float
    started: float
    wasted: float
    #: messages that KEDA finds waiting when it looks, on average
    seen: float


def trickle(
    times: ServiceTimes, scaling: Scaling, *, apart_s: float, tasks: int = 500, task_s: float = 10.0
) -> Trickle:
    """As they come when nobody plans them: at random."""
    system = System(times, Site(), Load(scaling.max_workers, task_s), endless=False)
    autoscaler = Autoscaler(system, scaling)
    came_at: dict[int, float] = {}
    seen: list[int] = []

    def producer() -> Steps:
        for task in range(tasks):
            yield system.env.timeout(system.randomness.expovariate(1 / apart_s))
            came_at[task] = system.env.now
            system.broker.publish(task)

    def look() -> Steps:
        while True:
            seen.append(system.broker.ready)
            yield system.env.timeout(scaling.polling_s)

    system.env.process(look())
    system.env.process(producer())
    system.env.run(apart_s * tasks * 1.5 + 3600)
    assert len(system.done) == tasks
    waits = [began - came_at[task] for task, began in system.began_at.items()]
    counted = len([each for each in range(len(seen)) if each * scaling.polling_s < max(came_at.values())])
    return Trickle(
        scaling,
        apart_s,
        percentile(waits, 50),
        percentile(waits, 95),
        autoscaler.started / tasks,
        autoscaler.wasted / tasks,
        statistics.fmean(seen[:counted]),
    )


def predicted(times: ServiceTimes, run: RealRun, tasks: int = 1000) -> float:
    """Tasks a second that the model expects of a real run: all is on one machine."""
    site = Site(round_trip_s=times.database.round_trip_s, flush_s=run.flush_s)
    system = System(times, site, Load(run.workers, run.task_s), endless=False, shared_cores=times.cores)
    for task in range(tasks):
        system.broker.publish(task)
    for _ in range(run.workers):
        system.start_worker()
    while len(system.done) < tasks:
        system.env.step()
    return tasks / system.env.now
