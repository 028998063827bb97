"""The model behind docs/scale.md: it loses nothing, and it agrees with what is known about queues."""

from __future__ import annotations

import random
import statistics

import pytest
import simpy

from benchmarks.scale.autoscaler import Autoscaler, Scaling
from benchmarks.scale.experiments import throughput
from benchmarks.scale.limits import limits
from benchmarks.scale.model import Load, Site, System
from benchmarks.scale.page import with_numbers
from benchmarks.scale.service_times import DatabaseTimes, QueueTimes, ServiceTimes, WorkerTimes
from benchmarks.scale.stations import Station, Steps

#: round numbers, so that a result can be worked out by hand
TIMES = ServiceTimes(
    about={},
    database=DatabaseTimes(
        claim_cpu_s=0.0005,
        outcome_cpu_s=0.0003,
        renew_cpu_s=0.0002,
        election_cpu_s=0.0001,
        sweep_cpu_s=0.001,
        claim_row_cpu_s=0.00005,
        outcome_row_cpu_s=0.00005,
        prune_cpu_s=0.00002,
        flush_s=0.001,
        round_trip_s=0.0001,
        row_bytes=400.0,
        connection_bytes=200_000.0,
    ),
    classic=QueueTimes(publish_cpu_s=0.00002, consume_cpu_s=0.00008),
    quorum=QueueTimes(publish_cpu_s=0.0001, consume_cpu_s=0.0003),
    broker_connection_bytes=100_000.0,
    worker=WorkerTimes(task_cpu_s=0.0007, start_s=1.5, connections=1.0),
    cores=2,
    clients=16,
    commits_per_flush=4.0,
    real_runs=[],
)


@pytest.mark.parametrize(("workers", "together"), [(1, 1), (7, 1), (7, 5)])
def test_every_task_is_run_once_and_none_is_lost(workers: int, together: int) -> None:
    system = System(TIMES, Site(), Load(workers, task_s=0.01, together=together), endless=False)
    for _ in range(workers):
        system.start_worker()
    for task in range(500):
        system.broker.publish(task)
    system.env.run(60)
    assert sorted(system.done) == list(range(500))
    assert system.broker.ready == 0
    statements = system.database.statements
    assert statements["outcome"] == statements["claim"]
    assert 500 / together <= statements["claim"] <= 500 / together + workers


def test_pods_come_for_every_task_and_go_again() -> None:
    system = System(TIMES, Site(), Load(10, task_s=100.0), endless=False)
    autoscaler = Autoscaler(system, Scaling(polling_s=15.0, max_workers=10))
    for task in range(25):
        system.broker.publish(task)
    system.env.run(1000)
    assert sorted(system.done) == list(range(25))
    assert autoscaler.started - autoscaler.wasted >= 10
    assert autoscaler.started == autoscaler.ended
    # ten at a time, so three one behind the other; the first as soon as its pod and its program run
    assert min(system.began_at.values()) < 15.0
    assert 200.0 <= max(system.began_at.values()) < 240.0


def test_one_server_with_poisson_arrivals_makes_wait_as_theory_says() -> None:
    """M/D/1: the mean wait is utilisation * service time / (2 * (1 - utilisation))."""
    service_s, utilisation, arrivals = 1.0, 0.7, 40_000
    env, randomness, waits = simpy.Environment(), random.Random(1), []
    station = Station(env, 1)

    def visit() -> Steps:
        came_at = env.now
        yield from station.serve(service_s)
        waits.append(env.now - came_at - service_s)

    def arrive() -> Steps:
        for _ in range(arrivals):
            yield env.timeout(randomness.expovariate(utilisation / service_s))
            env.process(visit())

    env.run(env.process(arrive()))
    assert station.utilisation == pytest.approx(utilisation, rel=0.02)
    assert statistics.fmean(waits) == pytest.approx(utilisation * service_s / (2 * (1 - utilisation)), rel=0.05)


@pytest.mark.parametrize(
    ("site", "together", "bound"),
    [
        (Site(database_cores=2, queues=8), 1, "database_tasks_per_s"),
        (Site(database_cores=2, queues=8), 5, "database_tasks_per_s"),
        (Site(database_cores=64, queue_type="quorum"), 1, "queue_tasks_per_s"),
    ],
)
def test_the_slowest_part_sets_the_pace(site: Site, together: int, bound: str) -> None:
    load = Load(workers=500, task_s=0.01, together=together)
    assert throughput(TIMES, site, load).tasks_per_s == pytest.approx(
        getattr(limits(TIMES, site, load), bound), rel=0.03
    )


def test_commits_that_wait_at_the_same_time_share_a_flush() -> None:
    slow_disk = Site(flush_s=0.05, database_cores=64, queues=8)
    alone = throughput(TIMES, slow_disk, Load(1, 0.01))
    many = throughput(TIMES, slow_disk, Load(100, 0.01))
    assert alone.commits_per_flush == pytest.approx(1.0, rel=0.01)
    assert many.commits_per_flush > 30
    assert many.tasks_per_s > 40 * alone.tasks_per_s


def test_a_long_task_renews_its_lease_and_a_short_one_does_not() -> None:
    hour_long = throughput(TIMES, Site(), Load(100, 3600.0))
    assert hour_long.statements["heartbeat"] == pytest.approx(100 / 20, rel=0.05)
    assert "heartbeat" not in throughput(TIMES, Site(), Load(100, 10.0)).statements
    # one round of every 30 s to a queue, however many workers it has
    assert hour_long.statements["sweep"] * 60 <= 2.5


def test_numbers_go_where_the_page_has_a_place_for_them() -> None:
    page = "a\n<!-- ends -->\nold\n<!-- /ends -->\nb\n"
    assert with_numbers(page, {"ends": "new"}) == "a\n<!-- ends -->\nnew\n<!-- /ends -->\nb\n"
    with pytest.raises(ValueError, match="'disks'"):
        with_numbers(page, {"disks": "new"})
