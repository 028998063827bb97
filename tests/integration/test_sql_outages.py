"""A database that is away, locked, read-only or wrongly configured, and values that it can't hold."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from grid_async_task.adapters.sql import SqlTaskRepository
from grid_async_task.domain.errors import ConfigurationError
from grid_async_task.domain.message import TaskMessage
from grid_async_task.domain.outcome import Succeeded
from grid_async_task.domain.task import Task
from grid_async_task.ports.errors import DataRefused, RepositoryUnavailable
from grid_async_task.ports.task_repository import Renewal
from tests.servers.mariadb import MySqlServer, OwnMariaDb

TABLE = "grid_async_task_tasks"


def insert(repository: SqlTaskRepository, message: TaskMessage, queue: str = "q") -> Task:
    task = repository.insert_claimed(message, queue=queue, owner="me", lease_s=60, max_retry_count=0)
    assert task is not None
    return task


@pytest.fixture
def repository(mysql_url: str) -> Iterator[SqlTaskRepository]:
    repository = SqlTaskRepository(mysql_url)
    repository.prepare()
    yield repository
    repository.close()


@pytest.fixture
def own_url(mariadb_own: OwnMariaDb) -> str:
    return mariadb_own.url(mariadb_own.new_database())


@pytest.fixture
def own_repository(own_url: str) -> Iterator[SqlTaskRepository]:
    repository = SqlTaskRepository(own_url)
    repository.prepare()
    yield repository
    repository.close()


def connections(server: MySqlServer, url: str) -> int:
    database = make_url(url).database
    rows = server.execute(f"SELECT id FROM information_schema.processlist WHERE db = '{database}'")
    return len(rows)


def test_a_killed_server_is_an_outage_and_nothing_committed_is_lost(
    mariadb_own: OwnMariaDb, own_url: str, own_repository: SqlTaskRepository
) -> None:
    claim = insert(own_repository, TaskMessage("a"))
    mariadb_own.kill()
    for _ in range(5):
        with pytest.raises(RepositoryUnavailable) as away:
            own_repository.renew(claim, lease_s=60, progress=None, cancel_known=False)
        assert "s3cret" not in str(away.value)
    mariadb_own.start()
    assert own_repository.renew(claim, lease_s=60, progress=None, cancel_known=False) is Renewal.HELD
    assert connections(mariadb_own, own_url) == 1


def test_a_restart_between_two_calls_costs_one_error_at_most(
    mariadb_own: OwnMariaDb, own_url: str, own_repository: SqlTaskRepository
) -> None:
    claim = insert(own_repository, TaskMessage("a"))
    mariadb_own.restart()
    with pytest.raises(RepositoryUnavailable):
        own_repository.read("a")
    assert own_repository.settle(claim, Succeeded({}), None)
    assert connections(mariadb_own, own_url) == 1


def test_a_server_that_is_away_at_the_start_is_no_error_of_the_configuration(
    mariadb_own: OwnMariaDb, own_url: str
) -> None:
    mariadb_own.kill()
    repository = SqlTaskRepository(own_url)
    with pytest.raises(RepositoryUnavailable):
        repository.prepare()
    mariadb_own.start()
    repository.prepare()
    insert(repository, TaskMessage("a"))
    repository.close()


def test_a_read_only_server_is_left_for_a_new_connection(
    mariadb_own: OwnMariaDb, own_url: str, own_repository: SqlTaskRepository
) -> None:
    """After a failover the old connection leads to what is now a replica, the name to the new server."""
    claim = insert(own_repository, TaskMessage("a"))
    name = "a_plain_user"
    mariadb_own.execute(f"CREATE USER {name}@'%' IDENTIFIED BY 'pw'")
    mariadb_own.execute(f"GRANT ALL ON *.* TO {name}@'%'")
    mariadb_own.execute(f"REVOKE READ_ONLY ADMIN, SUPER ON *.* FROM {name}@'%'")
    database = make_url(own_url).database
    assert database is not None
    plain = SqlTaskRepository(mariadb_own.url(database, user=name, password="pw"))
    assert plain.read("a") is not None
    [(before,)] = mariadb_own.execute(f"SELECT id FROM information_schema.processlist WHERE user = '{name}'")
    mariadb_own.execute("SET GLOBAL read_only = 1")
    with pytest.raises(RepositoryUnavailable, match="1290"):
        plain.settle(claim, Succeeded({}), None)
    mariadb_own.execute("SET GLOBAL read_only = 0")
    assert plain.settle(claim, Succeeded({}), None)
    [(after,)] = mariadb_own.execute(f"SELECT id FROM information_schema.processlist WHERE user = '{name}'")
    assert after != before
    plain.close()


def test_a_lock_is_waited_for_a_second(mariadb: MySqlServer, mysql_url: str, repository: SqlTaskRepository) -> None:
    claim = insert(repository, TaskMessage("a"))
    holder = mariadb.connect(make_url(mysql_url).database)
    with holder.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(f"SELECT * FROM {TABLE} WHERE id = 'a' FOR UPDATE")
    with pytest.raises(RepositoryUnavailable, match="1205"):
        repository.settle(claim, Succeeded({}), None)
    holder.close()
    assert repository.settle(claim, Succeeded({}), None)


@pytest.mark.parametrize(
    ("user", "password", "database", "cure"),
    [
        ("grid_nobody", "s3cret", "mysql", "password"),
        ("grid_nobody", "密码s3cret", "mysql", "password"),
        (None, None, "grid_no_such_database", "create the database"),
    ],
)
def test_what_only_a_person_can_mend(
    mariadb: MySqlServer, user: str | None, password: str | None, database: str, cure: str
) -> None:
    repository = SqlTaskRepository(mariadb.url(database, user=user, password=password))
    with pytest.raises(ConfigurationError, match=cure) as refused:
        repository.prepare()
    assert "s3cret" not in str(refused.value)
    repository.close()


@pytest.mark.parametrize(("change", "cure"), [("ACCOUNT LOCK", "unlock it"), ("PASSWORD EXPIRE", "set a new one")])
def test_a_user_that_may_not_log_in_as_things_are(mariadb: MySqlServer, mysql_url: str, change: str, cure: str) -> None:
    database = make_url(mysql_url).database
    assert database is not None
    mariadb.execute(f"CREATE USER {database}@'%' IDENTIFIED BY 'pw'")
    mariadb.execute(f"GRANT ALL ON {database}.* TO {database}@'%'")
    mariadb.execute(f"ALTER USER {database}@'%' {change}")
    repository = SqlTaskRepository(mariadb.url(database, user=database, password="pw"))
    with pytest.raises(ConfigurationError, match=cure):
        repository.prepare()
    repository.close()
    mariadb.execute(f"DROP USER {database}@'%'")


def test_a_login_that_has_worked_before_is_an_outage_when_it_fails(
    mariadb: MySqlServer, mysql_url: str, repository: SqlTaskRepository
) -> None:
    """Passwords are rotated while workers run; the task in hand is not given up for that."""
    database = make_url(mysql_url).database
    assert database is not None
    mariadb.execute(f"CREATE USER {database}@'%' IDENTIFIED BY 'pw'")
    mariadb.execute(f"GRANT ALL ON {database}.* TO {database}@'%'")
    other = SqlTaskRepository(mariadb.url(database, user=database, password="pw"))
    assert other.read("a") is None
    mariadb.execute(f"ALTER USER {database}@'%' IDENTIFIED BY 'other'")
    other.close()
    with pytest.raises(RepositoryUnavailable, match="1045"):
        other.read("a")
    mariadb.execute(f"DROP USER {database}@'%'")


def test_a_password_may_have_any_letters(mariadb: MySqlServer, mysql_url: str) -> None:
    database = make_url(mysql_url).database
    assert database is not None
    holder = mariadb.connect()
    with holder.cursor() as cursor:
        cursor.execute(f"CREATE USER {database}@'%' IDENTIFIED BY '密码/p@ss:wörd'")
        cursor.execute(f"GRANT ALL ON {database}.* TO {database}@'%'")
    holder.close()
    repository = SqlTaskRepository(mariadb.url(database, user=database, password="密码/p@ss:wörd"))
    repository.prepare()
    repository.close()
    mariadb.execute(f"DROP USER {database}@'%'")


def test_a_statement_that_is_too_large_for_the_server_is_refused(
    mariadb: MySqlServer, mysql_url: str, repository: SqlTaskRepository
) -> None:
    [(limit,)] = mariadb.execute("SELECT @@max_allowed_packet")
    assert isinstance(limit, int)
    claim = insert(repository, TaskMessage("a"))
    for large in ("x" * limit, "'" * (limit // 2)):
        # ours, before anything is sent: the server would close the connection, with or without a reason
        with pytest.raises(DataRefused, match=f"max_allowed_packet of the server is {limit}"):
            repository.settle(claim, Succeeded({"r": large}), None)
    assert repository.settle(claim, Succeeded({"r": "x" * (limit // 2)}), None)
    assert connections(mariadb, mysql_url) == 1


def test_a_value_that_does_not_fit_is_refused_and_not_cut(repository: SqlTaskRepository) -> None:
    with pytest.raises(DataRefused, match="1406"):
        insert(repository, TaskMessage("a"), queue="q" * 256)
    assert repository.read("a") is None
    with pytest.raises(DataRefused):
        insert(repository, TaskMessage("half \ud83d"))


@pytest.mark.parametrize("code", [3150, 3151])
def test_json_that_mysql_s_binary_form_can_not_hold(
    mariadb: MySqlServer, mysql_url: str, repository: SqlTaskRepository, code: int
) -> None:
    """MariaDB keeps the text, so here a trigger refuses it as MySQL does."""
    refuse = f"SIGNAL SQLSTATE '22032' SET MYSQL_ERRNO = {code}, MESSAGE_TEXT = 'too big'"
    mariadb.execute(
        f"CREATE TRIGGER refuse BEFORE INSERT ON {TABLE} FOR EACH ROW {refuse}", make_url(mysql_url).database
    )
    with pytest.raises(DataRefused, match="too big"):
        insert(repository, TaskMessage("a", data={"x" * 70_000: 1}))


def test_a_node_that_is_cut_off_from_its_cluster_is_left_for_a_new_connection(
    mariadb: MySqlServer, mysql_url: str, repository: SqlTaskRepository
) -> None:
    """It answers on, and refuses every statement with 1047; a new connection may lead to a node that works."""
    refuse = "SIGNAL SQLSTATE '08S01' SET MYSQL_ERRNO = 1047, MESSAGE_TEXT = 'WSREP has not yet prepared node'"
    mariadb.execute(f"CREATE FUNCTION refuse() RETURNS INT BEGIN {refuse}; RETURN 1; END", make_url(mysql_url).database)
    database = repository._database
    connection_id = "SELECT CONNECTION_ID() AS id"
    before = database.rows(text(connection_id), {})
    assert database.rows(text(connection_id), {}) == before
    with pytest.raises(RepositoryUnavailable, match="1047"):
        database.rows(text("SELECT refuse()"), {})
    assert database.rows(text(connection_id), {}) != before


def test_a_busy_pool_is_an_outage(mysql_url: str) -> None:
    repository = SqlTaskRepository(mysql_url, max_overflow=0, pool_timeout_s=0.1)
    repository.prepare()
    with repository._database.connected(), pytest.raises(RepositoryUnavailable):
        repository.read("a")
    assert repository.read("a") is None
    repository.close()


def test_threads_take_turns_at_a_pool_of_one(mysql_url: str) -> None:
    repository = SqlTaskRepository(mysql_url, max_overflow=0, pool_timeout_s=5)
    repository.prepare()
    # whoever waits although the connection is free waits for 5 s, and that is an error
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(repository.read, [f"t{number}" for number in range(400)])) == [None] * 400
    repository.close()


def test_a_locked_sqlite_file_is_an_outage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grid_async_task.adapters.sql.sqlite_session.BUSY_TIMEOUT_S", 0.1)
    repository = SqlTaskRepository(f"sqlite:///{tmp_path / 'tasks.db'}")
    repository.prepare()
    with repository._database.transaction(), pytest.raises(RepositoryUnavailable, match="locked"):
        insert(repository, TaskMessage("a"))
    insert(repository, TaskMessage("a"))
    repository.close()


def test_an_interrupted_transaction_does_not_keep_a_sqlite_file_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even while a cursor of it is left, as in the traceback of the interrupt."""
    monkeypatch.setattr("grid_async_task.adapters.sql.sqlite_session.BUSY_TIMEOUT_S", 0.1)
    url = f"sqlite:///{tmp_path / 'tasks.db'}"
    repository, other = SqlTaskRepository(url), SqlTaskRepository(url)
    repository.prepare()
    cursors = []
    with pytest.raises(KeyboardInterrupt), repository._database.transaction() as connection:
        cursors.append(connection.execute(text("SELECT 1 UNION SELECT 2")))
        raise KeyboardInterrupt
    insert(other, TaskMessage("a"))
    assert len(cursors) == 1
    repository.close()
    other.close()


@pytest.mark.parametrize("content", [None, b"no database " * 100])
def test_a_sqlite_file_that_can_not_be_used(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "missing" / "tasks.db"
    if content is not None:
        file = tmp_path / "other.txt"
        file.write_bytes(content)
    repository = SqlTaskRepository(f"sqlite:///{file}")
    with pytest.raises(ConfigurationError, match="SQLite"):
        repository.prepare()
    repository.close()
