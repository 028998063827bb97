"""Tables are made once, by whoever comes first, and tables of other people are left alone."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect, make_url, text

from grid_async_task.adapters.sql import SqlTaskRepository, migrations
from grid_async_task.adapters.sql.tables import tables_named
from grid_async_task.domain.errors import ConfigurationError
from grid_async_task.domain.message import TaskMessage
from tests.servers.mariadb import MySqlServer

TABLE = "grid_async_task_tasks"
ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["mysql", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'tasks.db'}"
    given: str = request.getfixturevalue("mysql_url")
    return given


def execute(url: str, *statements: str) -> list[tuple[object, ...]]:
    engine = create_engine(make_url(url))
    try:
        with engine.begin() as connection:
            results = [connection.execute(text(statement)) for statement in statements]
            return [tuple(row) for row in results[-1]] if results[-1].returns_rows else []
    finally:
        engine.dispose()


def prepare(url: str) -> None:
    repository = SqlTaskRepository(url)
    try:
        repository.prepare()
    finally:
        repository.close()


def insert_a_task(url: str) -> None:
    repository = SqlTaskRepository(url)
    assert repository.insert_claimed(TaskMessage("a"), queue="q", owner="me", lease_s=60, max_retry_count=0)
    repository.close()


def test_head_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(migrations.migrations_folder()))
    assert ScriptDirectory.from_config(config).get_current_head() == migrations.HEAD


def test_the_migrations_lead_to_the_tables_that_the_statements_use(url: str) -> None:
    """The same as if the tables had been made from what the statements are written for."""
    prepare(url)
    direct = tables_named("direct")
    engine = create_engine(make_url(url))
    direct.tasks.metadata.create_all(engine)
    there = inspect(engine)
    for ending in ("", "_checkpoints", "_sweeps"):
        migrated, expected = (
            [(c["name"], str(c["type"]), c["nullable"], c["default"]) for c in there.get_columns(name + ending)]
            for name in (TABLE, "direct")
        )
        assert migrated == expected
        indexes, expected_indexes = (
            [(str(i["name"]).removeprefix(name), i["column_names"]) for i in there.get_indexes(name + ending)]
            for name in (TABLE, "direct")
        )
        assert sorted(indexes) == sorted(expected_indexes)
    engine.dispose()


def test_many_processes_may_prepare_at_once(url: str) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=prepare, args=(url,)) for _ in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 8
    assert execute(url, f"SELECT version_num FROM {TABLE}_version") == [(migrations.HEAD,)]
    insert_a_task(url)


def test_a_migration_that_was_cut_off_is_finished_by_the_next(url: str) -> None:
    prepare(url)
    execute(url, f"DROP TABLE {TABLE}_sweeps", f"DELETE FROM {TABLE}_version")
    execute(url, f"DROP INDEX {TABLE}_created" + (f" ON {TABLE}" if url.startswith("mysql") else ""))
    insert_a_task(url)
    prepare(url)
    repository = SqlTaskRepository(url)
    assert repository.win_sweep("q", 30)
    assert repository.read("a") is not None
    repository.close()


def test_an_older_worker_goes_on_beside_newer_tables(url: str) -> None:
    prepare(url)
    execute(url, f"UPDATE {TABLE}_version SET version_num = '0999'")
    execute(url, f"ALTER TABLE {TABLE} ADD COLUMN something_new INT DEFAULT 5")
    prepare(url)
    insert_a_task(url)
    assert execute(url, f"SELECT version_num FROM {TABLE}_version") == [("0999",)]


def test_a_normal_start_does_not_import_alembic(url: str) -> None:
    prepare(url)
    program = (
        "import sys; from grid_async_task.adapters.sql import SqlTaskRepository as R; "
        f"r = R({url!r}); r.prepare(); r.close(); sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=60).returncode == 0


def test_alembic_by_hand(url: str) -> None:
    environment = {**os.environ, "GRID_ASYNC_TASK_MYSQL_URL": url, "GRID_ASYNC_TASK_TABLE_NAME": "mine"}
    command = [sys.executable, "-m", "alembic", "upgrade", "head"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert execute(url, "SELECT COUNT(*) FROM grid_async_task_mine") == [(0,)]


REFERENCE = f"CREATE TABLE {TABLE} (id INTEGER PRIMARY KEY, task_id VARCHAR(255) NOT NULL UNIQUE, status VARCHAR(20))"
SOMEBODY_ELSES = f"CREATE TABLE {TABLE} (id VARCHAR(255) PRIMARY KEY, title VARCHAR(20))"


@pytest.mark.parametrize(
    ("statement", "cure"), [(REFERENCE, "migrate --from-reference"), (SOMEBODY_ELSES, "TABLE_NAME")]
)
def test_a_table_that_is_not_ours_is_refused_and_left_alone(url: str, statement: str, cure: str) -> None:
    execute(url, statement)
    engine = create_engine(make_url(url))
    before = [column["name"] for column in inspect(engine).get_columns(TABLE)]
    with pytest.raises(ConfigurationError, match=cure):
        prepare(url)
    assert [column["name"] for column in inspect(engine).get_columns(TABLE)] == before
    assert inspect(engine).get_table_names() == [TABLE]
    engine.dispose()


def test_every_table_names_its_own_character_set(mariadb: MySqlServer, mysql_url: str) -> None:
    prepare(mysql_url)
    database = make_url(mysql_url).database
    assert mariadb.execute("SELECT @@character_set_database", database) == [("latin1",)]
    where = f"WHERE table_schema = '{database}'"
    tables = mariadb.execute(f"SELECT DISTINCT table_collation, engine FROM information_schema.tables {where}")
    assert tables == [("utf8mb4_bin", "InnoDB")]
    columns = mariadb.execute(
        "SELECT DISTINCT character_set_name, collation_name FROM information_schema.columns "
        f"{where} AND character_set_name IS NOT NULL"
    )
    assert columns == [("utf8mb4", "utf8mb4_bin")]


@pytest.mark.parametrize("name", ["", "a-b", "a.b", "a`b", "ä", "a" * 49])
def test_table_names_that_will_not_do(name: str) -> None:
    with pytest.raises(ConfigurationError, match="TABLE_NAME"):
        SqlTaskRepository("sqlite:///tasks.db", table=name)


@pytest.mark.parametrize(
    "url",
    [
        "mysql://user:s3cret@host/",
        "postgresql://user:s3cret@host/db",
        "mysql+pymysql://user:s3cret@host:port/db",
        "s3cret",
        "sqlite://",
        "sqlite:///:memory:",
    ],
)
def test_urls_that_will_not_do(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        SqlTaskRepository(url)
    assert "s3cret" not in str(refused.value)
    assert refused.value.__cause__ is None
