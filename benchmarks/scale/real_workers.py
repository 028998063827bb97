"""Real workers, to measure what they cost and to see whether the model is right."""

from __future__ import annotations

import json
import uuid
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pika
import pika.exceptions

from benchmarks.scale.processes import cpu_seconds
from grid_async_task.adapters.sql.task_repository import DEFAULT_TABLE
from tests.servers.mariadb import OwnMariaDb
from tests.waiting import eventually
from tests.worker_process import WorkerProcess

#: the share of the tasks after which measuring begins, and ends: nobody starts or has run out of work in between
FROM, TO = 0.2, 0.95
START_S = 120.0


class RealWorkers:
    """Started with the first task, which also makes the table; ended on leaving. Used as a context manager."""

    def __init__(self, amqp_url: str, database: OwnMariaDb, workers: int, queue_type: str = "classic") -> None:
        self._database = database
        self._workers = workers
        self._name = database.new_database()
        self._queue = f"scale-{uuid.uuid4().hex[:8]}"
        self._settings = {
            "amqp_url": amqp_url,
            "mysql_url": database.url(self._name),
            "queue": self._queue,
            "queue_type": queue_type,
            "log_level": "WARNING",
        }
        self._exits = ExitStack()
        self._processes: list[WorkerProcess] = []

    def __enter__(self) -> RealWorkers:
        connection = self._exits.enter_context(pika.BlockingConnection(pika.URLParameters(self._settings["amqp_url"])))
        self._channel = connection.channel()
        self._questions = self._exits.enter_context(self._database.connect(self._name))
        folder = Path(self._exits.enter_context(TemporaryDirectory()))
        for _ in range(self._workers):
            worker = WorkerProcess(folder, "benchmarks.scale.handlers:Sleeper", **self._settings)
            self._processes.append(self._exits.enter_context(worker))
        eventually(self._all_listen, START_S, "all workers listen")
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def tasks_per_s(self, tasks: int, task_s: float) -> float:
        """By the database's own clock."""
        self._run(tasks, task_s)
        ended = [row[0] for row in self._ask("SELECT UNIX_TIMESTAMP(completed_at) FROM {} ORDER BY completed_at")]
        first, last = int(len(ended) * FROM), int(len(ended) * TO)
        return (last - first) / float(ended[last] - ended[first])  # type: ignore[operator]

    def cpu_s_a_task(self, tasks: int) -> float:
        """Processor time of the workers, from the first task of many to the last."""
        self._run(tasks // 5, 0.0)  # the first ones compile statements and the like
        before = self._cpu_s()
        self._run(tasks, 0.0)
        return (self._cpu_s() - before) / tasks

    def connections(self) -> float:
        """To the database, a worker."""
        rows = self._database.execute(f"SELECT COUNT(*) FROM information_schema.processlist WHERE db='{self._name}'")
        return (int(str(rows[0][0])) - 1) / self._workers  # one of them is ours

    def _run(self, tasks: int, task_s: float) -> None:
        self._ask("DELETE FROM {}")
        for _ in range(tasks):
            body = json.dumps({"task_id": str(uuid.uuid4()), "data": {"seconds": task_s}}).encode()
            self._channel.basic_publish("", self._queue, body, pika.BasicProperties(delivery_mode=2))
        done = "SELECT COUNT(*) FROM {} WHERE status='success'"
        eventually(lambda: self._ask(done)[0][0] == tasks, START_S, "all tasks are done")

    def _ask(self, statement: str) -> list[tuple[object, ...]]:
        with self._questions.cursor() as cursor:
            cursor.execute(statement.format(DEFAULT_TABLE))
            return list(cursor.fetchall())

    def _cpu_s(self) -> float:
        return sum(cpu_seconds(worker.process.pid) for worker in self._processes)

    def _all_listen(self) -> bool:
        for worker in self._processes:
            assert worker.process.poll() is None, worker.log()
        if self._channel.is_closed:
            self._channel = self._channel.connection.channel()
        try:
            declared = self._channel.queue_declare(self._queue, passive=True)
        except pika.exceptions.ChannelClosedByBroker:
            return False
        return bool(declared.method.consumer_count == self._workers)


def start_seconds(amqp_url: str, database: OwnMariaDb) -> float:
    """From the start of a worker's process until its first task runs, with the table and the queue there."""
    name, queue = database.new_database(), f"scale-{uuid.uuid4().hex[:8]}"
    settings = {"amqp_url": amqp_url, "mysql_url": database.url(name), "queue": queue}
    with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection, TemporaryDirectory() as folder:
        connection.channel().queue_declare(queue, durable=True)
        for _ in range(2):  # the first one makes the table
            body = json.dumps({"task_id": str(uuid.uuid4()), "data": {"seconds": 0.0}}).encode()
            connection.channel().basic_publish("", queue, body)
            began = float(str(database.execute("SELECT UNIX_TIMESTAMP(UTC_TIMESTAMP(6))")[0][0]))
            with WorkerProcess(Path(folder), "benchmarks.scale.handlers:Sleeper", **settings) as worker:
                _wait_for_first_task(worker)
        rows = database.execute(f"SELECT MAX(UNIX_TIMESTAMP(started_at)) FROM {DEFAULT_TABLE}", name)
        return float(str(rows[0][0])) - began


def _wait_for_first_task(worker: WorkerProcess) -> None:
    done = "task succeeded"
    try:
        eventually(lambda: done in worker.log() or worker.process.poll() is not None, START_S, done)
    finally:
        assert done in worker.log(), worker.log()
