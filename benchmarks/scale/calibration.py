"""Measures what the steps of a task cost on this machine, with servers of its own.

Processor times are read from the servers' processes, so that other programs on the machine matter little; what is
taken by the clock (disk, round trip) is a median over rounds.
"""

from __future__ import annotations

import os
import shutil
import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import mkdtemp
from typing import TypeVar

from benchmarks.scale.broker_bench import BrokerBench
from benchmarks.scale.database_bench import CLIENTS, DatabaseBench
from benchmarks.scale.real_workers import RealWorkers, start_seconds
from benchmarks.scale.service_times import DatabaseTimes, QueueTimes, RealRun, ServiceTimes, WorkerTimes
from tests.servers.mariadb import OwnMariaDb
from tests.servers.rabbitmq import RabbitServer

Measured = TypeVar("Measured", DatabaseTimes, QueueTimes)


def calibrate(tasks: int, rounds: int) -> ServiceTimes:
    """`tasks` of each kind in each of some rounds."""
    with ExitStack() as stack:
        folder = Path(mkdtemp(prefix="scale-rabbitmq-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        broker = RabbitServer(folder)
        stack.callback(broker.shut_down)
        broker.start()
        database = OwnMariaDb()
        stack.callback(database.remove)
        of_broker = BrokerBench(broker, tasks)
        flushes, databases, classic, quorum, cpu, starts = [], [], [], [], [], []
        runs: list[RealRun] = []
        connections = 0.0
        for _ in range(rounds):
            bench = DatabaseBench(database, tasks)
            databases.append(bench.measure())
            flushes.append(bench.commits_per_flush())
            classic.append(of_broker.measure("classic"))
            quorum.append(of_broker.measure("quorum"))
            starts.append(start_seconds(broker.url, database))
            for workers in (1, 2):
                with RealWorkers(broker.url, database, workers) as real:
                    if workers == 1:
                        cpu.append(real.cpu_s_a_task(tasks))
                    for task_s in (0.0, 0.01):
                        before_s = bench.flush_s(task_s)
                        rate = real.tasks_per_s(tasks, task_s)
                        runs.append(RealRun(workers, task_s, rate, (before_s + bench.flush_s(task_s)) / 2))
                    connections = max(connections, real.connections())
            bench.close()
        versions = {"database": str(database.execute("SELECT VERSION()")[0][0]), "broker": broker_version(broker)}
        return ServiceTimes(
            about={**versions, "tasks": tasks, "rounds": rounds, "load": round(os.getloadavg()[0], 1)},
            database=_medians(DatabaseTimes, databases),
            classic=_medians(QueueTimes, classic),
            quorum=_medians(QueueTimes, quorum),
            broker_connection_bytes=of_broker.connection_bytes(),
            worker=WorkerTimes(statistics.median(cpu), statistics.median(starts), connections),
            cores=os.cpu_count() or 1,
            clients=CLIENTS,
            commits_per_flush=statistics.median(flushes),
            real_runs=runs,
        )


def broker_version(broker: RabbitServer) -> str:
    return broker.run("version").strip()


def _medians(kind: type[Measured], measured: Sequence[Measured]) -> Measured:
    """Field by field."""
    return kind(**{name: statistics.median(getattr(each, name) for each in measured) for name in kind.__annotations__})
