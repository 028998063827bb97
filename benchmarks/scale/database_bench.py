"""Measures what the statements of a task cost a MariaDB or MySQL."""

from __future__ import annotations

import statistics
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

from benchmarks.scale.costs import IDLE_CONNECTIONS, Cost, cost_of
from benchmarks.scale.processes import cpu_seconds, resident_bytes
from benchmarks.scale.service_times import MEASURED_TOGETHER, DatabaseTimes
from grid_async_task.adapters.sql import SqlTaskRepository
from grid_async_task.adapters.sql.task_repository import DEFAULT_TABLE
from grid_async_task.application.sweep import EVERY_S, LOST_AFTER_S, MAX_ROWS
from grid_async_task.domain.message import TaskMessage
from grid_async_task.domain.outcome import Succeeded
from grid_async_task.domain.task import Task
from tests.servers.mariadb import OwnMariaDb

QUEUE = "scale"
LEASE_S = 60.0
#: clients at once, to see how many commits a flush carries
CLIENTS = 16
#: pairs of commits that tell how fast the disk is at a moment
PROBES = 100


class DatabaseBench:
    def __init__(self, server: OwnMariaDb, tasks: int) -> None:
        self._server = server
        self._tasks = tasks
        self._name = server.new_database()
        (pid_file,) = server.execute("SELECT @@pid_file")[0]
        self._pid = int(Path(str(pid_file)).read_text(encoding="ascii"))
        self._repository = self._opened()
        self._repository.prepare()
        self._numbers = count()

    def measure(self) -> DatabaseTimes:
        claimed: list[Task] = []
        self._cost(lambda: claimed.append(self._claim()))  # the first ones compile statements, and warm caches
        for each in claimed:
            self._settle(each)
        claimed.clear()
        claim = self._cost(lambda: claimed.append(self._claim()))
        bytes_before = resident_bytes(self._pid)
        several = iter(claimed)
        renew = self._cost(lambda: self._renew(next(several)))
        several = iter(claimed)
        outcome = self._cost(lambda: self._settle(next(several)))
        together, groups = self._tasks // MEASURED_TOGETHER, []
        claim_ten = self._cost(lambda: groups.append(self._claim_together()), together)
        ten = iter(groups)
        outcome_ten = self._cost(lambda: self._settle_together(next(ten)), together)
        self._repository.win_sweep(QUEUE, EVERY_S)
        election = self._cost(lambda: self._repository.win_sweep(QUEUE, EVERY_S))
        sweep = self._cost(lambda: self._repository.overdue(QUEUE, lost_after_s=LOST_AFTER_S, limit=MAX_ROWS), 200)
        nothing = self._nothing()
        row_bytes = self._row_bytes()
        return DatabaseTimes(
            claim_cpu_s=claim.cpu_s,
            outcome_cpu_s=outcome.cpu_s,
            renew_cpu_s=renew.cpu_s,
            election_cpu_s=election.cpu_s,
            sweep_cpu_s=sweep.cpu_s,
            claim_row_cpu_s=_a_row(claim_ten, claim),
            outcome_row_cpu_s=_a_row(outcome_ten, outcome),
            prune_cpu_s=self._prune(),
            flush_s=max(0.0, statistics.median([claim.rest_s, renew.rest_s, outcome.rest_s]) - nothing.rest_s),
            round_trip_s=nothing.rest_s,
            row_bytes=row_bytes,
            connection_bytes=self._connection_bytes(bytes_before),
        )

    def flush_s(self, pause_s: float) -> float:
        """What a commit waits for the disk at this moment, a mean over pairs with a pause between, as a worker's are.

        A machine that has slept for milliseconds takes several times as long for the next one.
        """
        pair = cost_of(lambda: (self._claim(), self._claim()), PROBES, self._pid, pause_s=pause_s)
        return pair.mean_rest_s / 2

    def commits_per_flush(self) -> float:
        """With many clients that do nothing but claim."""
        with ThreadPoolExecutor(CLIENTS) as pool:
            repositories = [self._opened() for _ in range(CLIENTS)]
            each = self._tasks // 4

            def claim(repository: SqlTaskRepository) -> None:
                for _ in range(each):
                    self._claim(repository)

            list(pool.map(lambda repository: repository.read("x"), repositories))
            before = self._flushes()
            list(pool.map(claim, repositories))
            flushes = self._flushes() - before
            for repository in repositories:
                repository.close()
        return CLIENTS * each / flushes

    def close(self) -> None:
        self._repository.close()
        self._server.drop_database(self._name)

    def _opened(self) -> SqlTaskRepository:
        return SqlTaskRepository(self._server.url(self._name))

    def _cost(self, call: Callable[[], object], times: int | None = None) -> Cost:
        return cost_of(call, times or self._tasks, self._pid)

    def _message(self) -> TaskMessage:
        return TaskMessage(f"{next(self._numbers)}-{uuid.uuid4()}", data={"n": 1})

    def _claim(self, repository: SqlTaskRepository | None = None) -> Task:
        task = (repository or self._repository).insert_claimed(
            self._message(), queue=QUEUE, owner="me", lease_s=LEASE_S, max_retry_count=0
        )
        assert task is not None
        return task

    def _claim_together(self) -> list[Task]:
        messages = [self._message() for _ in range(MEASURED_TOGETHER)]
        tasks = self._repository.insert_claimed_together(
            messages, queue=QUEUE, owner="me", lease_s=LEASE_S, max_retry_count=0
        )
        assert tasks is not None
        return tasks

    def _renew(self, task: Task) -> None:
        self._repository.renew(task, lease_s=LEASE_S, progress=None, cancel_known=False)

    def _settle(self, task: Task) -> None:
        assert self._repository.settle(task, Succeeded({}), None)

    def _settle_together(self, tasks: list[Task]) -> None:
        assert self._repository.succeed_together(tasks, [{}] * len(tasks))

    def _nothing(self) -> Cost:
        """A round trip that asks for nothing, by the driver that the repository uses."""
        connection = self._server.connect()
        with connection, connection.cursor() as cursor:
            return self._cost(lambda: cursor.execute("DO 0"))

    def _prune(self) -> float:
        self._server.execute(
            f"UPDATE {DEFAULT_TABLE} SET created_at='2020-01-01', completed_at='2020-01-01'", self._name
        )
        before, pruned = cpu_seconds(self._pid), 0
        while batch := self._repository.prune(86400.0, 500).count:
            pruned += batch
        return (cpu_seconds(self._pid) - before) / pruned

    def _row_bytes(self) -> float:
        self._server.execute(f"ANALYZE TABLE {DEFAULT_TABLE}", self._name)
        rows = self._server.execute(
            "SELECT (data_length + index_length) / table_rows FROM information_schema.tables"
            f" WHERE table_schema='{self._name}' AND table_name='{DEFAULT_TABLE}'"
        )
        return float(str(rows[0][0]))

    def _connection_bytes(self, before: int) -> float:
        connections = [self._server.connect(self._name) for _ in range(IDLE_CONNECTIONS)]
        for connection in connections:
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT * FROM {DEFAULT_TABLE} LIMIT 1")
        grown = resident_bytes(self._pid) - before
        for connection in connections:
            connection.close()
        return grown / IDLE_CONNECTIONS

    def _flushes(self) -> int:
        rows = self._server.execute("SHOW GLOBAL STATUS LIKE 'Innodb_log_writes'")
        return int(str(rows[0][1]))


def _a_row(ten: Cost, one: Cost) -> float:
    """What a further row of a statement costs."""
    return max(0.0, (ten.cpu_s - one.cpu_s) / (MEASURED_TOGETHER - 1))
