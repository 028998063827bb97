"""`migrate --from-reference`: a table of version 1.0.10, with rows in every state, moves to the new layout."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, event, inspect, make_url, text

from grid_async_task import TaskClient
from grid_async_task.adapters.sql import SqlTaskRepository, from_reference
from grid_async_task.adapters.sql.from_reference import Copied
from grid_async_task.domain.errors import ConfigurationError
from grid_async_task.domain.task import Task, TaskStatus
from grid_async_task.ports import DataRefused, TaskFilter
from tests.cli_site import Doubling, Site
from tests.servers.mariadb import MySqlServer
from tests.servers.rabbitmq import new_queue_name

TABLE = "grid_async_task_tasks"
QUEUE = "task_queue"

#: SHOW CREATE TABLE on MariaDB 10.11, after the package grid-async-task 1.0.10 had made its table
ON_MYSQL = f"""
CREATE TABLE `{TABLE}` (
  `id` int(11) NOT NULL AUTO_INCREMENT COMMENT '自增主键ID',
  `task_id` varchar(255) NOT NULL COMMENT '任务唯一标识',
  `task_type` varchar(100) NOT NULL COMMENT '任务类型',
  `status` enum('pending','running','success','failed','retrying') DEFAULT NULL COMMENT '任务状态',
  `data` longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT NULL COMMENT '任务数据' CHECK (json_valid(`data`)),
  `result` longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT NULL COMMENT '任务结果'
    CHECK (json_valid(`result`)),
  `error_message` text DEFAULT NULL COMMENT '错误信息',
  `progress` int(11) DEFAULT NULL COMMENT '任务进度(0-100)',
  `progress_message` varchar(500) DEFAULT NULL COMMENT '进度描述',
  `retry_count` int(11) DEFAULT NULL COMMENT '已重试次数',
  `max_retry_count` int(11) DEFAULT NULL COMMENT '最大重试次数',
  `callback_url` varchar(500) DEFAULT NULL COMMENT '回调URL',
  `callback_type` enum('http','rabbitmq') DEFAULT NULL COMMENT '回调类型',
  `callback_data` longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT NULL COMMENT '回调附加数据'
    CHECK (json_valid(`callback_data`)),
  `created_at` datetime DEFAULT NULL COMMENT '创建时间',
  `updated_at` datetime DEFAULT NULL COMMENT '更新时间',
  `started_at` datetime DEFAULT NULL COMMENT '开始时间',
  `completed_at` datetime DEFAULT NULL COMMENT '完成时间',
  PRIMARY KEY (`id`),
  UNIQUE KEY `ix_{TABLE}_task_id` (`task_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci
"""
#: what the same model makes of a SQLite file
ON_SQLITE = f"""
CREATE TABLE {TABLE} (
  id INTEGER NOT NULL PRIMARY KEY, task_id VARCHAR(255) NOT NULL, task_type VARCHAR(100) NOT NULL, status VARCHAR(8),
  data JSON, result JSON, error_message TEXT, progress INTEGER, progress_message VARCHAR(500), retry_count INTEGER,
  max_retry_count INTEGER, callback_url VARCHAR(500), callback_type VARCHAR(8), callback_data JSON,
  created_at DATETIME, updated_at DATETIME, started_at DATETIME, completed_at DATETIME)
"""
UNIQUE_ON_SQLITE = f"CREATE UNIQUE INDEX ix_{TABLE}_task_id ON {TABLE} (task_id)"

CREATED, UPDATED, ENDED = "2024-01-15 10:30:00", "2024-01-15 10:31:00", "2024-01-15 10:32:00"


def as_written(task_id: str, status: str | None, **more: Any) -> dict[str, Any]:
    """The columns as version 1.0.10 writes them: JSON's null for what is absent, letters escaped."""
    row = {
        "task_id": task_id,
        "task_type": "default",
        "status": status,
        "data": json.dumps({"number": 21, "名": "中文"}),
        "progress": 0,
        "retry_count": 0,
        "max_retry_count": 0,
        "callback_type": "http",
        "callback_data": "null",
        "created_at": CREATED,
        "updated_at": UPDATED,
        "started_at": None if status == "pending" else UPDATED,
        "completed_at": ENDED if status in ("success", "failed") else None,
    }
    return row | more


ROWS = [
    as_written("waits", "pending", max_retry_count=3, callback_url="http://host/done", callback_data='{"k": 1}'),
    as_written("runs", "running", progress=40, progress_message="处理第 40 页", retry_count=1, max_retry_count=3),
    as_written("fails-for-now", "retrying", retry_count=2, max_retry_count=3, error_message="太慢 at http://u:pw@h/"),
    as_written("did it", "success", result='{"pages": 3}', progress=100, progress_message="任务完成", retry_count=1),
    as_written("gave null", "success", result="null", progress=100),
    as_written("gave a list", "success", result="[1, 2]", progress=100, callback_url="http://host/done"),
    as_written("used up", "failed", retry_count=3, max_retry_count=3, error_message="重试次数已耗尽 (3次)"),
    as_written("no retries", "failed", retry_count=1, error_message="boom"),
    as_written("任务-8", None, data=None, progress=None, progress_message=None, retry_count=None, max_retry_count=None)
    | {"callback_type": None, "callback_data": None, "created_at": None, "updated_at": None, "started_at": None},
]
BY_STATUS = {"pending": 2, "running": 1, "retrying": 1, "success": 3, "failed": 2}


@contextmanager
def connected(url: str) -> Iterator[Callable[..., list[Any]]]:
    engine = create_engine(make_url(url))
    try:
        with engine.begin() as connection:

            def execute(statement: str, *rows: dict[str, Any]) -> list[Any]:
                done = connection.execute(text(statement), list(rows) or None)
                return list(done.mappings()) if done.returns_rows else []

            yield execute
    finally:
        engine.dispose()


def execute(url: str, statement: str) -> list[Any]:
    with connected(url) as run:
        return run(statement)


def insert(url: str, *rows: dict[str, Any]) -> None:
    with connected(url) as run:
        for row in rows:
            run(f"INSERT INTO {TABLE} ({', '.join(row)}) VALUES ({', '.join(':' + name for name in row)})", row)


def table_names(url: str) -> set[str]:
    engine = create_engine(make_url(url))
    names = set(inspect(engine).get_table_names())
    engine.dispose()
    return names


@contextmanager
def opened(url: str) -> Iterator[SqlTaskRepository]:
    repository = SqlTaskRepository(url)
    try:
        yield repository
    finally:
        repository.close()


def copy(url: str) -> Copied:
    with opened(url) as repository:
        return repository.copy_from_reference(QUEUE)


def tasks_of(url: str) -> dict[str, Task]:
    with opened(url) as repository:
        repository.prepare()
        ids = [row["id"] for row in execute(url, f"SELECT id FROM {TABLE}")]
        readings = {task_id: repository.read(task_id) for task_id in ids}
        return {task_id: reading.task for task_id, reading in readings.items() if reading}


@pytest.fixture(params=["mysql", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with a table of version 1.0.10 and its `ROWS`."""
    if request.param == "sqlite":
        made = f"sqlite:///{tmp_path / 'tasks.db'}"
        execute(made, ON_SQLITE)
        execute(made, UNIQUE_ON_SQLITE)
    else:
        made = request.getfixturevalue("mysql_url")
        execute(made, ON_MYSQL)
    insert(made, *ROWS)
    return made


@pytest.fixture
def old_mysql(mysql_url: str) -> str:
    execute(mysql_url, ON_MYSQL)
    insert(mysql_url, *ROWS)
    return mysql_url


def at(moment: str) -> datetime:
    return datetime.fromisoformat(moment).replace(tzinfo=timezone.utc)


# -- what becomes of the rows --------------------------------------------------------------------------


def test_every_row_has_its_like_in_the_new_layout(url: str) -> None:
    before = execute(url, f"SELECT * FROM {TABLE} ORDER BY id")
    copied = copy(url)
    assert copied.by_status == BY_STATUS
    assert (copied.left_behind, copied.was_done, copied.old_table) == ([], False, f"{TABLE}_v1")
    assert execute(url, f"SELECT * FROM {TABLE}_v1 ORDER BY id") == before
    assert table_names(url) == {TABLE, *(TABLE + ending for ending in ("_v1", "_checkpoints", "_sweeps", "_version"))}
    assert set(tasks_of(url)) == {row["task_id"] for row in ROWS}


def test_what_had_not_ended_waits_for_its_message(url: str) -> None:
    copy(url)
    tasks = tasks_of(url)
    for task_id, attempt, retry_count in (("waits", 0, 0), ("runs", 2, 1), ("fails-for-now", 2, 2), ("任务-8", 0, 0)):
        task = tasks[task_id]
        assert (task.status, task.queue, task.wake_at, task.owner) == (TaskStatus.PENDING, QUEUE, None, None)
        assert (task.attempt, task.retry_count) == (attempt, retry_count)
        assert task.completed_at is None
    waits = tasks["waits"]
    assert (waits.data, waits.extra) == ({"number": 21, "名": "中文"}, {"queue_name": QUEUE})
    assert (waits.callback.url, waits.callback.type, waits.callback.data) == ("http://host/done", "http", {"k": 1})
    assert (waits.max_retry_count, waits.created_at, waits.updated_at) == (3, at(CREATED), at(UPDATED))
    assert (tasks["runs"].progress.percent, tasks["runs"].progress.message) == (40, "处理第 40 页")
    failure = tasks["fails-for-now"].failure
    assert failure is not None
    assert failure.message == "太慢 at http://u:***@h/"
    # nothing was in it but its id
    bare = tasks["任务-8"]
    assert (bare.data, bare.callback.is_asked, bare.max_retry_count, bare.progress.percent) == ({}, False, None, 0)
    assert bare.created_at is not None


def test_what_had_ended_stays_as_it_was(url: str) -> None:
    copy(url)
    tasks = tasks_of(url)
    results = {"did it": {"pages": 3}, "gave null": {}, "gave a list": {"data": [1, 2]}}
    for task_id, result in results.items():
        task = tasks[task_id]
        assert (task.status, task.result, task.failure) == (TaskStatus.SUCCESS, result, None)
        assert (task.progress.percent, task.completed_at, task.started_at) == (100, at(ENDED), at(UPDATED))
        # whether its callback was sent, only version 1 knew
        assert (task.wake_at, task.callback_status) == (None, None)
    assert [tasks[task_id].attempt for task_id in ("did it", "gave null", "used up", "no retries")] == [2, 1, 3, 1]
    failures = [tasks[task_id].failure for task_id in ("used up", "no retries")]
    assert [failure and (failure.error_type, failure.cause, failure.message) for failure in failures] == [
        ("RetryExhausted", "UnknownError", "重试次数已耗尽 (3次)"),
        ("UnknownError", None, "boom"),
    ]


def test_the_new_table_is_as_a_migration_makes_it(url: str, tmp_path: Path, mariadb: MySqlServer) -> None:
    copy(url)
    database = mariadb.new_database()
    fresh = f"sqlite:///{tmp_path / 'fresh.db'}" if url.startswith("sqlite") else mariadb.url(database)
    with opened(fresh) as repository:
        repository.prepare()
    ours, expected = create_engine(make_url(url)), create_engine(make_url(fresh))
    for name in (TABLE, *(TABLE + ending for ending in ("_checkpoints", "_sweeps", "_version"))):
        columns, expected_columns = (
            [(c["name"], str(c["type"]), c["nullable"], c["default"]) for c in inspect(engine).get_columns(name)]
            for engine in (ours, expected)
        )
        assert columns == expected_columns
        indexes, expected_indexes = (
            {(i["name"], tuple(i["column_names"])) for i in inspect(engine).get_indexes(name)}
            for engine in (ours, expected)
        )
        assert indexes == expected_indexes
    ours.dispose()
    expected.dispose()
    mariadb.drop_database(database)


def test_rows_that_do_not_fit_are_named_and_stay_behind(url: str) -> None:
    if url.startswith("mysql"):
        execute(url, f"DROP INDEX ix_{TABLE}_task_id ON {TABLE}")
        execute(url, f"ALTER TABLE {TABLE} MODIFY data LONGTEXT, MODIFY result LONGTEXT, MODIFY task_id VARCHAR(300)")
    else:
        execute(url, f"DROP INDEX ix_{TABLE}_task_id")
    insert(
        url,
        as_written("", "success"),
        as_written("x" * 256, "pending"),
        as_written(" padded", "pending"),
        as_written("waits", "failed", error_message="a later one"),
        as_written("cut off", "pending", data='{"a": '),
        as_written("a number", "pending", data="17"),
        as_written("not a number", "success", result='{"a": NaN}'),
        as_written("less than none", "pending", max_retry_count=-1),
        as_written("Waits", "failed"),
    )
    copied = copy(url)
    left = {row.id: (row.task_id, row.reason) for row in copied.left_behind}
    first = len(ROWS) + 1
    assert [left[number][0] for number in sorted(left)] == [
        *("", "x" * 256, " padded", "waits", "cut off", "a number", "not a number", "less than none")
    ]
    reasons = (
        "task_id",
        "255",
        "white space",
        "older row",
        "data is not JSON",
        "data is a number",
        "NaN",
        "whole number",
    )
    for number, reason in enumerate(reasons, first):
        assert reason in left[number][1]
    assert copied.by_status == {**BY_STATUS, "failed": 3}
    tasks = tasks_of(url)
    assert set(tasks) == {*(row["task_id"] for row in ROWS), "Waits"}
    assert tasks["waits"].status is TaskStatus.PENDING
    assert execute(url, f"SELECT COUNT(*) AS n FROM {TABLE}_v1") == [{"n": len(ROWS) + 9}]


def test_what_was_written_before_the_server_refused_a_row_is_written_once(old_mysql: str) -> None:
    """A batch may be several statements, here for its large rows; those before the refused one are committed."""
    large = json.dumps({"text": "x" * 600_000})
    insert(old_mysql, *(as_written(task_id, "pending", data=large) for task_id in ("large-1", "large-2", "refused")))
    refuse = (
        f"CREATE TRIGGER refuse BEFORE INSERT ON {TABLE}_copying FOR EACH ROW IF NEW.id = 'refused' THEN"
        " SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1366, MESSAGE_TEXT = 'not this one'; END IF"
    )
    with opened(old_mysql) as repository:

        @event.listens_for(repository._database._engine, "before_cursor_execute")
        def refuse_one(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
            if statement.startswith("INSERT") and not execute(old_mysql, "SHOW TRIGGERS"):
                execute(old_mysql, refuse)

        copied = repository.copy_from_reference(QUEUE)
    assert [(row.task_id, "not this one" in row.reason) for row in copied.left_behind] == [("refused", True)]
    assert copied.by_status == {**BY_STATUS, "pending": 4}
    assert set(tasks_of(old_mysql)) == {*(row["task_id"] for row in ROWS), "large-1", "large-2"}


def test_one_row_that_the_database_refuses_keeps_none_of_the_others(old_mysql: str) -> None:
    """A server that takes smaller statements now than when the row was written."""
    insert(old_mysql, as_written("large", "pending", data=json.dumps({"text": "x" * 100_000})))
    with opened(old_mysql) as repository:

        @event.listens_for(repository._database._engine, "before_cursor_execute")
        def refuse(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            if statement.startswith("INSERT") and "x" * 100_000 in str(parameters):
                raise DataRefused("a statement of 100099 bytes")

        copied = repository.copy_from_reference(QUEUE)
    assert [(row.task_id, row.reason) for row in copied.left_behind] == [("large", "a statement of 100099 bytes")]
    assert copied.by_status == BY_STATUS
    assert set(tasks_of(old_mysql)) == {row["task_id"] for row in ROWS}


# -- at any moment -------------------------------------------------------------------------------------


class Crash(BaseException):
    """The process is gone."""


def copy_and_crash(url: str, moment: str, number: int) -> bool:
    """Die before or after the statement of this number. False: there are not so many."""
    count = 0
    with opened(url) as repository:

        @event.listens_for(repository._database._engine, f"{moment}_cursor_execute")
        def die(*_: Any) -> None:
            nonlocal count
            count += 1
            if count == number:
                raise Crash

        try:
            repository.copy_from_reference(QUEUE)
        except Crash:
            return True
    return False


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_crash_at_any_statement_is_made_good_by_the_next_try(
    url: str, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(from_reference, "BATCH", 4)
    rows_before = execute(url, f"SELECT * FROM {TABLE} ORDER BY id")
    number = 1
    while copy_and_crash(url, moment, number):
        assert_that_no_worker_starts_on_half_a_table(url)
        again = copy(url)
        assert again.was_done or again.by_status == BY_STATUS
        assert {task_id: task.status for task_id, task in tasks_of(url).items()} == {
            row["task_id"]: TaskStatus.PENDING
            if row["status"] in (None, "pending", "running", "retrying")
            else TaskStatus(row["status"])
            for row in ROWS
        }
        assert execute(url, f"SELECT * FROM {TABLE}_v1 ORDER BY id") == rows_before
        for name in (TABLE, f"{TABLE}_version", f"{TABLE}_checkpoints", f"{TABLE}_sweeps"):
            execute(url, f"DROP TABLE {name}")
        execute(url, f"ALTER TABLE {TABLE}_v1 RENAME TO {TABLE}")
        number += 1
    assert number > 30


def assert_that_no_worker_starts_on_half_a_table(url: str) -> None:
    with opened(url) as repository:
        try:
            repository.prepare()
        except ConfigurationError as refused:
            assert "migrate --from-reference" in str(refused)
            return
        assert {task.id for task in repository.list_tasks(TaskFilter(), 100)} == {row["task_id"] for row in ROWS}


def test_what_version_1_writes_until_the_very_end_is_copied_too(old_mysql: str) -> None:
    with opened(old_mysql) as repository:

        @event.listens_for(repository._database._engine, "before_cursor_execute")
        def write_late(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
            if statement.startswith("RENAME"):
                execute(old_mysql, f"UPDATE {TABLE} SET status='success', result='{{}}' WHERE task_id='waits'")
                execute(old_mysql, f"UPDATE {TABLE} SET progress=41 WHERE task_id='runs'")
                insert(old_mysql, as_written("late", "pending"))

        copied = repository.copy_from_reference(QUEUE)
    assert copied.by_status == {**BY_STATUS, "pending": 2, "success": 4}
    tasks = tasks_of(old_mysql)
    assert (tasks["waits"].status, tasks["waits"].result) == (TaskStatus.SUCCESS, {})
    assert tasks["runs"].progress.percent == 41
    assert tasks["late"].status is TaskStatus.PENDING


def test_a_version_table_from_other_days_lets_nobody_in_early(old_mysql: str) -> None:
    """Version 2 was tried, its table dropped, and version 1 has made its own again."""
    execute(old_mysql, f"CREATE TABLE {TABLE}_version (version_num VARCHAR(32) PRIMARY KEY)")
    execute(old_mysql, f"INSERT INTO {TABLE}_version VALUES ('0001')")
    assert copy_and_crash_after_the_rename(old_mysql)
    with opened(old_mysql) as repository, pytest.raises(ConfigurationError, match="interrupted"):
        repository.prepare()
    assert copy(old_mysql).by_status == BY_STATUS


def copy_and_crash_after_the_rename(url: str) -> bool:
    with opened(url) as repository:

        @event.listens_for(repository._database._engine, "after_cursor_execute")
        def die(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
            if statement.startswith("RENAME"):
                raise Crash

        with pytest.raises(Crash):
            repository.copy_from_reference(QUEUE)
    return True


# -- when not ------------------------------------------------------------------------------------------


def test_without_the_command_nothing_starts_and_nothing_changes(url: str) -> None:
    with opened(url) as repository, pytest.raises(ConfigurationError, match="migrate --from-reference"):
        repository.prepare()
    assert table_names(url) == {TABLE}


def test_a_second_time_there_is_nothing_to_do(url: str) -> None:
    copy(url)
    execute(url, f"DELETE FROM {TABLE} WHERE id = 'did it'")
    again = copy(url)
    assert (again.was_done, again.by_status.total()) == (True, 0)
    assert "did it" not in tasks_of(url)


def test_the_name_of_the_old_table_is_taken(url: str) -> None:
    execute(url, f"CREATE TABLE {TABLE}_v1 (x INTEGER)")
    with pytest.raises(ConfigurationError, match=f"{TABLE}_v1 exists"):
        copy(url)
    assert table_names(url) == {TABLE, f"{TABLE}_v1"}


def test_the_name_of_the_new_table_is_taken(url: str) -> None:
    execute(url, f"CREATE TABLE {TABLE}_copying (x INTEGER)")
    with pytest.raises(ConfigurationError, match=f"{TABLE}_copying is in the way"):
        copy(url)
    assert table_names(url) == {TABLE, f"{TABLE}_copying"}


def test_a_table_that_lacks_a_column_of_version_1(url: str) -> None:
    execute(url, f"ALTER TABLE {TABLE} DROP COLUMN progress_message")
    with pytest.raises(ConfigurationError, match="no column progress_message"):
        copy(url)


def test_no_table_at_all(url: str) -> None:
    execute(url, f"DROP TABLE {TABLE}")
    with pytest.raises(ConfigurationError, match="grid_async_tasks"):
        copy(url)
    assert table_names(url) == set()


@pytest.mark.parametrize("beside_it", [False, True])
def test_a_table_of_somebody_else(url: str, beside_it: bool) -> None:
    execute(url, f"ALTER TABLE {TABLE} RENAME TO {TABLE}_v1" if beside_it else f"DROP TABLE {TABLE}")
    execute(url, f"CREATE TABLE {TABLE} (id VARCHAR(255) PRIMARY KEY)")
    with pytest.raises(ConfigurationError, match="not ours"):
        copy(url)


# -- the command ---------------------------------------------------------------------------------------


def test_two_commands_at_once(old_mysql: str, tmp_path: Path) -> None:
    site = Site(tmp_path, "amqp://nobody-listens:1/", old_mysql, QUEUE)
    both = [site.start("migrate", "--from-reference", "--json") for _ in range(2)]
    answers = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], answers
    reports = sorted((json.loads(output) for output, _ in answers), key=lambda report: bool(report["was_done"]))
    assert [report["was_done"] for report in reports] == [False, True]
    assert reports[0]["copied"] == BY_STATUS
    assert set(tasks_of(old_mysql)) == {row["task_id"] for row in ROWS}


def test_what_it_prints(old_mysql: str, tmp_path: Path) -> None:
    insert(old_mysql, as_written("bad", "pending", data="17"))
    site = Site(tmp_path, "amqp://nobody-listens:1/", old_mysql, QUEUE)
    done = site.program("migrate", "--from-reference")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"table {TABLE} has 9 tasks of version 1.x; the old one is {TABLE}_v1",
        *("pending: 2", "running: 1", "success: 3", "failed: 2", "retrying: 1"),
        f"1 rows do not fit and are in {TABLE}_v1 only:",
        "ROW\tTASK ID\tREASON",
        "10\tbad\tdata is a number; it must be an object",
        "4 tasks are pending now and start when their message comes. For those whose message is lost, once no worker"
        f" of version 1.x runs: grid-async-task requeue --queue {QUEUE}",
    ]
    again = site.program("migrate", "--from-reference")
    assert (again.returncode, again.stdout) == (0, f"table {TABLE} has the new layout: nothing to copy\n")


def test_what_it_refuses(tmp_path: Path, mysql_url: str) -> None:
    site = Site(tmp_path, "amqp://nobody-listens:1/", mysql_url, QUEUE)
    assert "TABLE_PREFIX" in refusal(site, 2)
    site.mysql_url = "memory://"
    assert "nothing to copy" in refusal(site, 2)
    assert "one at a time" in refusal(site, 1, "--print")


def refusal(site: Site, exit_code: int, *more: str) -> str:
    done = site.program("migrate", "--from-reference", *more)
    assert (done.returncode, done.stdout) == (exit_code, "")
    assert "Traceback" not in done.stderr
    return done.stderr


def test_then_workers_and_clients_of_version_2_go_on(amqp_url: str, old_mysql: str, tmp_path: Path) -> None:
    site = Site(tmp_path, amqp_url, old_mysql, new_queue_name())
    without = site.program("worker", "--handler", "tests.cli_site:Doubling")
    assert (without.returncode, "migrate --from-reference" in without.stderr) == (2, True)
    execute(old_mysql, f"UPDATE {TABLE} SET callback_url = NULL")
    # as version 1's producer has sent it; and a finished one whose acknowledgement was lost
    site.publish(*(message_of_version_1(task_id, site.queue) for task_id in ("waits", "did it")))
    assert site.program("migrate", "--from-reference").returncode == 0

    handler = Remembering()
    site.work(handler)
    assert handler.seen == [("waits", 1, site.queue)]
    client = TaskClient(settings=site.settings())
    waits, did_it = client.get_task("waits"), client.get_task("did it")
    assert waits is not None
    assert did_it is not None
    assert (waits.status, waits.result) == (TaskStatus.SUCCESS, {"doubled": 42})
    assert (did_it.status, did_it.result, did_it.completed_at) == (TaskStatus.SUCCESS, {"pages": 3}, at(ENDED))
    assert client.count_by_status() == {"pending": 3, "running": 0, "success": 4, "failed": 2, "retrying": 0}

    # the others have lost their message with the workers of version 1
    assert site.program("requeue").stdout == f"3 tasks published to {site.queue}\n"
    site.work(handler, max_retry_count=0)
    assert sorted(handler.seen[1:]) == [
        ("fails-for-now", 3, site.queue),
        ("runs", 3, site.queue),
        ("任务-8", 1, site.queue),
    ]
    assert client.count_by_status() == {"pending": 0, "running": 0, "success": 6, "failed": 3, "retrying": 0}
    client.close()


def message_of_version_1(task_id: str, queue: str) -> bytes:
    message = {
        "task_id": task_id,
        "task_type": "default",
        "data": {"number": 21, "名": "中文"},
        "max_retry_count": 3,
        "callback_url": None,
        "callback_type": "http",
        "callback_data": None,
        "queue_name": queue,
    }
    return json.dumps(message, ensure_ascii=False).encode("utf-8")


class Remembering(Doubling):
    def __init__(self) -> None:
        self.seen: list[tuple[str | None, int, Any]] = []

    def execute(self, task_data: dict[str, Any]) -> Any:
        self.seen.append((self.task_id, self.attempt, (self.task_data or {}).get("queue_name")))
        return super().execute(task_data)
