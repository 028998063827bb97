"""The way of tasks through workers, one broker and one database, as a discrete-event simulation.

What is left out: retries, callbacks, dead letters, failing servers. What is assumed: a core more is a core's work more,
and statements do not wait for each other's locks. Both flatter the database; `docs/scale.md` says what to make of it.
"""

from __future__ import annotations

import random
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import simpy

from benchmarks.scale.service_times import ServiceTimes
from benchmarks.scale.stations import Broker, Database, Station, Steps
from grid_async_task.application.lease_times import RENEW_AFTER_SHARE
from grid_async_task.application.sweep import EVERY_S

#: stands for a task that was claimed before the simulation began
BEFORE = -1


@dataclass(frozen=True)
class Site:
    """The servers, and the network between them and the workers."""

    database_cores: int = 4
    #: seconds a statement is under way
    round_trip_s: float = 0.0005
    #: a disk over the network takes longer than the one that was measured
    flush_s: float = 0.001
    queue_type: str = "classic"
    #: over which the tasks are spread
    queues: int = 1


@dataclass(frozen=True)
class Load:
    workers: int
    #: how long a handler runs
    task_s: float
    lease_s: float = 60.0
    #: tasks that share two commits
    together: int = 1


class System:
    """Everything there is. Make it, start workers, let the environment run, then read what was counted."""

    def __init__(
        self,
        times: ServiceTimes,
        site: Site,
        load: Load,
        *,
        endless: bool,
        seed: int = 1,
        shared_cores: int | None = None,
    ) -> None:
        """`shared_cores`: servers and workers are on one machine, as where the service times were measured."""
        self.env = simpy.Environment()
        self.times = times
        self.load = load
        self.randomness = random.Random(seed)
        shared = Station(self.env, shared_cores) if shared_cores else None
        self.database_cores = shared or Station(self.env, site.database_cores)
        self.broker_cores = shared or Station(self.env, site.queues)
        self.worker_cores = shared or Station(self.env, load.workers)
        self.database = Database(
            self.env, self.database_cores, times.database, round_trip_s=site.round_trip_s, flush_s=site.flush_s
        )
        self.broker = Broker(
            self.env,
            self.broker_cores,
            times.queue(site.queue_type),
            round_trip_s=site.round_trip_s,
            endless=endless,
        )
        #: when each task's handler began
        self.began_at: dict[int, float] = {}
        #: tasks, in the order in which they ended
        self.done: list[int] = []
        #: seconds that claims took
        self.claim_times: list[float] = []
        #: seconds that heartbeats took
        self.renew_times: list[float] = []

    def start_worker(self, *, in_mid_task: bool = False) -> None:
        self.env.process(self._work(in_mid_task))
        self.env.process(self._sweep_now_and_then())

    def count_from_now(self) -> None:
        """Forget what was counted so far: the first seconds are not what goes on."""
        for station in (self.database_cores, self.broker_cores, self.worker_cores):
            station.count_from_now()
        self.database.statements.clear()
        self.database.flushes = 0
        for record in (self.done, self.claim_times, self.renew_times, self.began_at):
            record.clear()

    def run_next(self, patience_s: float | None = None) -> Generator[Any, Any, bool]:
        """Take a message, or a few that share their commits, and see to it; False where none came."""
        first = yield from self.broker.next(patience_s)
        if first is None:
            return False
        tasks = [first]
        while len(tasks) < self.load.together and self.broker.has_more:
            task = yield from self.broker.next()
            tasks += [] if task is None else [task]
        costs, others = self.times.database, len(tasks) - 1
        began = self.env.now
        yield from self.database.write("claim", costs.claim_cpu_s + others * costs.claim_row_cpu_s)
        self.claim_times.append(self.env.now - began)
        for task in tasks:
            self.began_at[task] = self.env.now
            yield from self.worker_cores.serve(self.times.worker.task_cpu_s)
            yield from self._run_handler(self.load.task_s)
        yield from self.database.write("outcome", costs.outcome_cpu_s + others * costs.outcome_row_cpu_s)
        self.done += tasks
        return True

    def _work(self, in_mid_task: bool) -> Steps:
        if in_mid_task:
            yield from self._run_handler(self.load.task_s, elapsed_s=self.randomness.uniform(0, self.load.task_s))
            yield from self.database.write("outcome", self.times.database.outcome_cpu_s)
            self.done.append(BEFORE)
        while True:
            yield from self.run_next()

    def _run_handler(self, seconds: float, elapsed_s: float = 0.0) -> Steps:
        """Its lease is renewed in time, which it does not wait for."""
        every_s = self.load.lease_s * RENEW_AFTER_SHARE
        while (next_s := (elapsed_s // every_s + 1) * every_s) < seconds:
            yield self.env.timeout(next_s - elapsed_s)
            elapsed_s = next_s
            self.env.process(self._renew())
        yield self.env.timeout(seconds - elapsed_s)

    def _renew(self) -> Steps:
        began = self.env.now
        yield from self.database.write("heartbeat", self.times.database.renew_cpu_s)
        self.renew_times.append(self.env.now - began)

    def _sweep_now_and_then(self) -> Steps:
        yield self.env.timeout(self.randomness.uniform(0, EVERY_S))
        while True:
            if (yield from self.database.win_sweep(EVERY_S)):
                yield from self.database.search_overdue()
            yield self.env.timeout(EVERY_S * self.randomness.uniform(0.8, 1.2))
