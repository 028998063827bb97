"""A full table and a long queue: tasks a second and the latency of a claim, and how the statements find their rows."""

from __future__ import annotations

import statistics
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace

from benchmarks.contenders import WORKER
from benchmarks.figures import Figure, Result, at_least, at_most, ratios
from benchmarks.filled_table import fill_table
from benchmarks.plans import plans
from benchmarks.rounds import LARGE_ROWS, Effort, interleaved
from benchmarks.site import Site, fill, new_queue, remove
from benchmarks.throughput import speed_of
from grid_async_task.adapters.sql import SqlTaskRepository
from grid_async_task.domain.message import TaskMessage
from grid_async_task.domain.outcome import Succeeded
from tests.servers.mariadb import OwnMariaDb

FEW_ROWS = 1_000
#: so that the largest table is in memory, as it would be on any server that is meant for it
LARGE_SERVER = "--innodb-buffer-pool-size=6G"


@dataclass(frozen=True)
class Grown:
    tasks_per_s: float
    claim_ms: float


def measure(site: Site, effort: Effort) -> Result:
    database = OwnMariaDb()
    with ExitStack() as stack:
        stack.callback(database.remove)
        sizes = (FEW_ROWS, *effort.rows)
        if LARGE_ROWS in sizes:
            database.stop()
            database.start(LARGE_SERVER)
        sites = {size: replace(site, mysql_url=database.url(database.new_database())) for size in sizes}
        for size, its_site in sites.items():
            fill_table(its_site.mysql_url, size)
        long_queue = new_queue()
        fill(site.amqp_url, long_queue, effort.waiting + effort.rounds * 2 * effort.tasks)
        stack.callback(remove, site.amqp_url, long_queue)
        runs: dict[str, Callable[[], Grown]] = {
            f"{size:,} rows": _run_of(its_site, effort, None) for size, its_site in sites.items()
        }
        waiting = f"{effort.waiting:,} waiting messages"
        runs[waiting] = _run_of(sites[FEW_ROWS], effort, long_queue)
        found = interleaved(effort.rounds, runs)
        # every table has rows of this queue then, so that they are where the statements look
        table = plans({size: its_site.mysql_url for size, its_site in sites.items()}, database)
    few = found[f"{FEW_ROWS:,} rows"]
    figures = []
    for name, grown in found.items():
        figures.append(Figure(f"{name}: prefetch 1", "tasks/s", [each.tasks_per_s for each in grown]))
        figures.append(Figure(f"{name}: claim", "ms", [each.claim_ms for each in grown]))
        if grown is not few:
            rates = ratios([each.tasks_per_s for each in grown], [each.tasks_per_s for each in few])
            claims = ratios([each.claim_ms for each in grown], [each.claim_ms for each in few])
            figures.append(Figure(f"{name} : {FEW_ROWS:,} rows, tasks/s", "x", rates, at_least(0.9)))
            figures.append(Figure(f"{name} : {FEW_ROWS:,} rows, claim", "x", claims, at_most(1.1)))
    return Result(figures, [table])


def _run_of(site: Site, effort: Effort, queue: str | None) -> Callable[[], Grown]:
    def run() -> Grown:
        speed = speed_of(site, WORKER, 1, effort.tasks, queue)
        return Grown(speed.tasks_per_s, _claim_ms(site.mysql_url, effort.latencies))

    return run


def _claim_ms(mysql_url: str, claims: int) -> float:
    """The median of so many, each followed by its outcome."""
    repository = SqlTaskRepository(mysql_url)
    seconds = []
    try:
        for _ in range(claims):
            message = TaskMessage(str(uuid.uuid4()), data={"n": 1})
            began = time.perf_counter()
            task = repository.insert_claimed(message, queue="bench", owner="me", lease_s=60, max_retry_count=0)
            seconds.append(time.perf_counter() - began)
            assert task is not None
            repository.settle(task, Succeeded({}), None)
    finally:
        repository.close()
    return statistics.median(seconds) * 1000
