"""Where a real worker runs a task on a real database that tests break, and what it tells about that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pymysql
from sqlalchemy import make_url

from grid_async_task import TaskStatus
from grid_async_task.adapters.sql import SqlTaskRepository
from grid_async_task.domain.message import CallbackRequest, TaskMessage
from grid_async_task.domain.task import CallbackStatus, Task
from tests.servers.http_receiver import HttpReceiver
from tests.servers.mariadb import MySqlServer
from tests.servers.rabbitmq import new_queue_name
from tests.servers.tcp_proxy import TcpProxy
from tests.waiting import eventually
from tests.worker_process import WorkerProcess
from tests.worker_site import Site

TABLE = "grid_async_task_tasks"
UNAVAILABLE, AVAILABLE = "database unavailable, trying again until it answers", "database available again"
HEARTBEAT_FAILED, HEARTBEAT_WORKS = "heartbeat failed, trying again; the task goes on", "heartbeat works again"


@dataclass(frozen=True)
class Write:
    """One of a worker's writes about a task: how to know it on the wire, and in the table once it is committed."""

    name: str
    sql: bytes
    is_committed: Callable[[Task], bool]


CLAIM_NEW = Write("claim of a new task", b"INSERT INTO grid_async_task_tasks (", lambda task: task.attempt == 1)
CLAIM_RECORDED = Write("claim of a recorded task", b"status='running'", lambda task: task.attempt == 1)
RENEWAL = Write("renewal of the lease", b"cancel_requested <=", lambda task: task.updated_at != task.started_at)
OUTCOME = Write("outcome", b"status='success'", lambda task: task.status.is_final)
CALLBACK_TAKE = Write("take of the callback", b"callback_attempts = 0 AND", lambda task: task.callback_attempts == 1)
CALLBACK_MARK = Write(
    "mark of the callback", b"callback_status='sent'", lambda task: task.callback_status is CallbackStatus.SENT
)


@dataclass
class DatabaseSite(Site):
    """One task `t` that asks for a callback. Its worker comes to the database through a proxy, the test directly."""

    database: MySqlServer = field(kw_only=True)
    proxy: TcpProxy = field(kw_only=True)
    receiver: HttpReceiver = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        url = make_url(self.settings["mysql_url"])
        self.name, self.port = str(url.database), url.port or 3306
        #: as applications have them: servers that are full or read-only make no exception for it
        self.user = f"plain_{self.name}"
        self.database.execute(f"CREATE USER {self.user}@'%' IDENTIFIED BY 'pw'")
        self.database.execute(f"GRANT ALL ON {self.name}.* TO {self.user}@'%'")

    def starting_worker(self, **settings: Any) -> WorkerProcess:
        url = make_url(self.settings["mysql_url"]).set(
            username=self.user, password="pw", host="127.0.0.1", port=self.proxy.port
        )
        return self.worker(mysql_url=url.render_as_string(hide_password=False), **settings)

    def started_worker(self, **settings: Any) -> WorkerProcess:
        worker = self.starting_worker(**settings)
        worker.wait_for_log("worker started")
        return worker

    def publish_long(self, **data: Any) -> None:
        """A task that ends when the test touches `finish_file`."""
        self.publish(data={"until": str(self.finish_file()), **data}, callback_url=self.receiver.url)

    def record_long(self) -> None:
        """The row of that task, as a producer makes it that records what it sends."""
        message = TaskMessage("t", data={"until": str(self.finish_file())}, callback=CallbackRequest(self.receiver.url))
        repository = SqlTaskRepository(self.settings["mysql_url"])
        repository.record_pending([message], [self.settings["queue"]])
        repository.close()

    def statuses(self) -> list[object]:
        """Of all rows; asked over a connection of its own, as long as the server may be restarted."""
        return [status for (status,) in self.database.execute(f"SELECT status FROM {TABLE}", self.name)]

    def has(self, write: Write) -> bool:
        task = self.client.get_task("t")
        return task is not None and write.is_committed(task)

    def lose_answers(self, *writes: Write) -> list[str]:
        """Cut the connection once each of these, in this order, is committed and before its answer passes.

        The list that it gives grows with each.
        """
        lost: list[str] = []

        def wait_for(write: Write, *later: Write) -> None:
            def cut() -> None:
                eventually(lambda: self.has(write), what=f"{write.name} is committed")
                lost.append(write.name)
                if later:
                    wait_for(*later)
                self.proxy.cut()

            self.proxy.on_client_bytes(write.sql, cut)

        wait_for(*writes)
        return lost

    @contextmanager
    def holding(self, *statements: str) -> Iterator[pymysql.cursors.Cursor]:
        """A transaction of somebody else, which ends with the context."""
        connection = self.database.connect(self.name)
        try:
            with connection.cursor() as cursor:
                for statement in ("BEGIN", *statements):
                    cursor.execute(statement)
                yield cursor
        finally:
            connection.close()

    def connections_of_worker(self) -> list[int]:
        found = self.database.execute(f"SELECT id FROM information_schema.processlist WHERE user = '{self.user}'")
        return [int(str(number)) for (number,) in found]

    def assert_promises_kept(self, worker: WorkerProcess, callback_within_s: float = 30.0) -> None:
        """Run once, one final state, its callback came and is always the same, and nothing is left on the queue."""
        task = self.wait_for(TaskStatus.SUCCESS)
        try:
            eventually(lambda: self.has(CALLBACK_MARK), callback_within_s, "the callback is marked as sent")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.task()}\n{worker.log()}") from error
        assert (task.attempt, task.retry_count, task.crash_count) == (1, 0, 0)
        assert task.result is not None
        assert task.result["attempt"] == 1
        assert self.starts() == ["start t 1"]
        assert len({(sent.headers["webhook-id"], sent.body) for sent in self.receiver.requests}) == 1
        worker.terminate()
        assert worker.ended() == 0
        # also what was unacknowledged is ready now
        assert self.messages() == 0

    def close(self) -> None:
        for worker in self.workers:
            worker.__exit__(None, None, None)
        self.client.close()
        self.database.execute(f"DROP USER {self.user}@'%'")


def outages(worker: WorkerProcess) -> list[str]:
    """The error of each outage of the database that the worker told of; and that all are over."""
    errors = [line["error"] for line in worker.said(UNAVAILABLE)]
    assert len(worker.said(AVAILABLE)) == len(errors), worker.log()
    return errors


def without_standstills(errors: list[str]) -> list[str]:
    """Where an answer is waited for 2 s only, as with a lease of 6 s: a machine that stands still makes an outage."""
    return [error for error in errors if "timed out" not in error]


@contextmanager
def open_database_site(directory: Path, amqp_url: str, database: MySqlServer, url: str) -> Iterator[DatabaseSite]:
    """A queue, a table and a user of its own. Its workers are killed at the end."""
    target = make_url(url)
    # the lease is longer than a test: a heartbeat comes only where a test asks for a shorter one
    settings = {"amqp_url": amqp_url, "queue": new_queue_name(), "mysql_url": url, "lease_seconds": 60}
    with HttpReceiver() as receiver, TcpProxy(str(target.host), target.port or 3306) as proxy:
        site = DatabaseSite(directory, settings, database=database, proxy=proxy, receiver=receiver)
        try:
            yield site
        finally:
            site.close()
