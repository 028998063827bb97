"""What the statements cost, which index they use, and whose clock they follow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import event, make_url

from grid_async_task.adapters.sql import SqlTaskRepository
from grid_async_task.domain.message import CallbackRequest, TaskMessage
from grid_async_task.domain.outcome import Succeeded
from grid_async_task.domain.progress import Progress
from grid_async_task.domain.task import Task, TaskStatus
from grid_async_task.ports.task_repository import CallbackMark, Reading, TaskFilter
from tests.servers.mariadb import MySqlServer


@pytest.fixture
def repository(mysql_url: str) -> Iterator[SqlTaskRepository]:
    repository = SqlTaskRepository(mysql_url)
    repository.prepare()
    yield repository
    repository.close()


def insert(repository: SqlTaskRepository, message: TaskMessage) -> Task:
    task = repository.insert_claimed(message, queue="q", owner="me", lease_s=60, max_retry_count=0)
    assert task is not None
    return task


def read(repository: SqlTaskRepository, task_id: str = "a") -> Reading:
    reading = repository.read(task_id)
    assert reading is not None
    return reading


def test_each_call_is_one_round_trip(repository: SqlTaskRepository) -> None:
    def questions() -> int:
        with repository._database.connected() as connection:
            row = connection.exec_driver_sql("SHOW SESSION STATUS LIKE 'Questions'").one()
        return int(row[1])

    def cost(call: Any) -> tuple[int, Any]:
        before = questions()
        answer = call()
        # the second question counts itself
        return questions() - before - 1, answer

    message = TaskMessage("a", callback=CallbackRequest("http://x/"))
    trips, claim = cost(lambda: insert(repository, message))
    assert trips == 1
    for call in (
        lambda: repository.renew(claim, lease_s=60, progress=Progress(1), cancel_known=False),
        lambda: repository.save_checkpoint(claim, "1"),
        lambda: repository.settle(claim, Succeeded({}), None),
        lambda: repository.read("a"),
        lambda: repository.overdue("q", lost_after_s=900, limit=100),
        lambda: repository.count_by_status(),
        lambda: repository.record_pending([TaskMessage(f"m-{i}") for i in range(500)], ["q"] * 500),
    ):
        trips, answer = cost(call)
        assert trips == 1
    seen = read(repository).task
    trips, taken = cost(lambda: repository.take_callback(seen, hold_s=90))
    assert (trips, taken is not None) == (1, True)
    trips, answer = cost(lambda: repository.mark_callback(taken, CallbackMark(sent=True)))
    assert (trips, answer) == (1, True)
    pending = read(repository, "m-1").task
    trips, claimed = cost(lambda: repository.claim(pending, owner="me", lease_s=60, max_retry_count=0, crashed=False))
    assert (trips, claimed is not None) == (1, True)


@pytest.mark.parametrize(
    ("question", "index"),
    [
        (lambda repository: repository.overdue("q", lost_after_s=900, limit=100), "grid_async_task_tasks_wake"),
        (lambda repository: repository.list_tasks(TaskFilter(), 10), "grid_async_task_tasks_created"),
        (lambda repository: repository.read("m-1"), "PRIMARY"),
    ],
    ids=["overdue", "list", "read"],
)
def test_questions_use_an_index(
    mariadb: MySqlServer, mysql_url: str, repository: SqlTaskRepository, question: Any, index: str
) -> None:
    repository.record_pending([TaskMessage(f"m-{i}") for i in range(3000)], ["q", "other"] * 1500)
    insert(repository, TaskMessage("due", callback=CallbackRequest("http://x/")))
    database = make_url(mysql_url).database
    mariadb.execute("ANALYZE TABLE grid_async_task_tasks", database)
    sent: list[tuple[str, Any]] = []
    event.listen(
        repository._database._engine,
        "before_cursor_execute",
        lambda connection, cursor, statement, parameters, context, executemany: sent.append((statement, parameters)),
    )
    question(repository)
    statement, parameters = sent[0]
    with mariadb.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute("EXPLAIN " + statement, parameters)
        names = [description[0] for description in cursor.description]
        plan = dict(zip(names, cursor.fetchall()[0], strict=True))
    assert plan["key"] == index, plan
    assert "filesort" not in str(plan["Extra"])


def test_the_zone_of_a_session_does_not_matter(repository: SqlTaskRepository, mysql_url: str) -> None:
    east, west = SqlTaskRepository(mysql_url), SqlTaskRepository(mysql_url)
    for there, zone in ((east, "+13:00"), (west, "-11:00")):
        event.listen(
            there._database._engine,
            "connect",
            lambda connection, record, zone=zone: connection.cursor().execute(f"SET time_zone = '{zone}'"),
        )
    claim = insert(east, TaskMessage("a"))
    east.record_pending([TaskMessage("b")], ["q"])
    for reader in (east, west, repository):
        reading = read(reader)
        assert reading.task.wake_at is not None
        assert abs(reading.task.wake_at - reading.now - timedelta(seconds=60)) < timedelta(seconds=20)
        assert abs(reading.now - datetime.now(timezone.utc)) < timedelta(seconds=20)
        created_at = read(reader, "b").task.created_at
        assert created_at is not None
        assert abs(reading.now - created_at) < timedelta(seconds=20)
    assert west.claim(read(west).task, owner="w", lease_s=60, max_retry_count=0, crashed=True) is None
    assert west.settle(claim, Succeeded({}), None)
    assert read(east).task.status is TaskStatus.SUCCESS
    east.close()
    west.close()


def test_the_times_of_a_task_that_was_just_written_are_close_to_the_row(repository: SqlTaskRepository) -> None:
    claim = insert(repository, TaskMessage("a"))
    row = read(repository).task
    assert claim.started_at is not None
    assert row.started_at is not None
    assert abs(claim.started_at - row.started_at) < timedelta(seconds=2)


@pytest.mark.parametrize("columns", [("id", "task_type"), ("id", "task_type", "data", "queue")])
def test_a_row_may_be_inserted_by_hand(
    repository: SqlTaskRepository, mariadb: MySqlServer, mysql_url: str, columns: tuple[str, ...]
) -> None:
    """With the defaults of the columns, as applications that enqueue by SQL do it."""
    values = {"id": "by-hand", "task_type": "report", "data": '{"a":1}', "queue": "work"}
    names, given = ", ".join(columns), ", ".join(f"'{values[column]}'" for column in columns)
    mariadb.execute(f"INSERT INTO grid_async_task_tasks ({names}) VALUES ({given})", make_url(mysql_url).database)
    reading = repository.read("by-hand")
    assert reading is not None
    assert (reading.task.status, reading.task.attempt, reading.task.progress.percent) == (TaskStatus.PENDING, 0, 0)
    claimed = repository.claim(
        replace(reading.task, queue="work"), owner="me", lease_s=60, max_retry_count=0, crashed=False
    )
    assert claimed is not None
    read_again = repository.read("by-hand")
    assert read_again is not None
    assert read_again.task.queue == "work"
