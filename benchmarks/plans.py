"""How the statements of claim, sweep, outbox, listing and prune find their rows, by the server's own words.

The repository's methods are called as they are; the server's slow log, with a limit of nothing, tells which
statements came of it and how many rows each examined, and EXPLAIN of that very text which index it used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.figures import Table
from benchmarks.filled_table import DAYS, QUEUE
from benchmarks.site import connect
from grid_async_task.adapters.sql import SqlTaskRepository
from grid_async_task.domain.message import TaskMessage
from grid_async_task.domain.outcome import Succeeded
from grid_async_task.domain.task import CallbackStatus, Task, TaskStatus
from grid_async_task.ports import TaskFilter
from tests.servers.mariadb import OwnMariaDb

COLUMNS = ("what", "rows in the table", "index", "rows examined", "ms")
_LOGGED = ("SELECT", "INSERT", "UPDATE", "DELETE")
#: a task that there is not. Asked for behind a statement, on the same connection: the server logs a statement only
#: after its answer, so once this one is answered, the one before is logged
_NOBODY = "of-plans-nobody"


def plans(mysql_urls: Mapping[int, str], database: OwnMariaDb) -> Table:
    for setting in ("log_output='TABLE'", "long_query_time=0", "slow_query_log=1"):
        database.execute(f"SET GLOBAL {setting}")
    rows = [row for size, mysql_url in mysql_urls.items() for row in _of_one_table(size, mysql_url)]
    order = list(dict.fromkeys(row[0] for row in rows))
    # side by side: the same statement at all sizes
    rows.sort(key=lambda row: order.index(row[0]))
    return Table("Which index, and how many rows", COLUMNS, rows)


def _of_one_table(size: int, mysql_url: str) -> list[tuple[str, ...]]:
    repository = SqlTaskRepository(mysql_url)
    rows: list[tuple[str, ...]] = []
    try:
        with connect(mysql_url) as connection, connection.cursor() as cursor:
            cursor.execute("SET SESSION long_query_time=10")
            for what, made_ready in _statements(repository).items():
                run = made_ready()
                repository.read(_NOBODY)
                cursor.execute("TRUNCATE mysql.slow_log")
                run()
                repository.read(_NOBODY)
                indexes, examined, seconds = _logged(cursor)
                rows.append((what, f"{size:,}", ", ".join(indexes), f"{examined:,}", f"{seconds * 1000:.1f}"))
    finally:
        repository.close()
    return rows


def _statements(repository: SqlTaskRepository) -> dict[str, Callable[[], Callable[[], object]]]:
    """What is looked at, by its name; each makes ready what it needs, and gives what is then to be run."""

    def claimed(task_id: str) -> Task:
        task = repository.insert_claimed(
            TaskMessage(task_id, data={"n": 1}), queue=QUEUE, owner="me", lease_s=60, max_retry_count=0
        )
        assert task is not None
        return task

    def first(wanted: TaskFilter) -> Task:
        return repository.list_tasks(wanted, 1)[0]

    def claim_again() -> Callable[[], object]:
        waiting = first(TaskFilter((TaskStatus.PENDING,), queue=QUEUE))
        return lambda: repository.claim(waiting, owner="me", lease_s=60, max_retry_count=0, crashed=False)

    def settle() -> Callable[[], object]:
        task = claimed("of-plans-settled")
        return lambda: repository.settle(task, Succeeded({}), None)

    def renew() -> Callable[[], object]:
        task = claimed("of-plans-renewed")
        return lambda: repository.renew(task, lease_s=60, progress=None, cancel_known=False)

    def take_callback() -> Callable[[], object]:
        due = first(TaskFilter(callback_status=CallbackStatus.DUE, queue=QUEUE))
        return lambda: repository.take_callback(due, hold_s=60)

    def directly(call: Callable[[], object]) -> Callable[[], Callable[[], object]]:
        return lambda: call

    newest = TaskFilter(queue=QUEUE)
    failed = TaskFilter((TaskStatus.FAILED,))
    due = TaskFilter(callback_status=CallbackStatus.DUE)
    due_here = TaskFilter(callback_status=CallbackStatus.DUE, queue=QUEUE)
    return {
        "claim a new task": directly(lambda: claimed("of-plans-new")),
        "claim a waiting task": claim_again,
        "renew a lease": renew,
        "write an outcome": settle,
        "take a callback (outbox)": take_callback,
        "sweep: what is overdue": directly(lambda: repository.overdue(QUEUE, lost_after_s=300, limit=100)),
        "list the newest 100": directly(lambda: repository.list_tasks(newest, 100)),
        "list 100 that failed": directly(lambda: repository.list_tasks(failed, 100)),
        "list callbacks that are due": directly(lambda: repository.list_tasks(due, 100)),
        "list callbacks that are due, of one queue": directly(lambda: repository.list_tasks(due_here, 100)),
        "count by status": directly(lambda: repository.count_by_status()),
        "prune 1,000": directly(lambda: repository.prune((DAYS - 10) * 86_400, 1000)),
        "prune, nothing old enough": directly(lambda: repository.prune((DAYS + 10) * 86_400, 1000)),
    }


def _logged(cursor: Any) -> tuple[list[str], int, float]:
    """The indexes, the rows examined and the seconds of what the server has done since the log was emptied."""
    cursor.execute("SELECT sql_text, rows_examined, TIME_TO_SEC(query_time) FROM mysql.slow_log")
    indexes: list[str] = []
    examined, seconds = 0, 0.0
    for text, rows, took in cursor.fetchall():
        statement = text.decode() if isinstance(text, bytes) else text
        if not statement.lstrip().startswith(_LOGGED) or _NOBODY in statement:
            continue
        examined += rows
        seconds += float(took)
        cursor.execute("EXPLAIN " + statement)
        names = [column[0] for column in cursor.description]
        for plan in cursor.fetchall():
            key = dict(zip(names, plan, strict=True)).get("key")
            if key and key not in indexes:
                indexes.append(key)
    return indexes, examined, seconds
