"""`migrate` without the rights it needs, and what an administrator makes of `migrate --print`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import make_url

from grid_async_task.adapters.sql.migrations import HEAD
from tests.cli_site import Site
from tests.servers.mariadb import MySqlServer
from tests.servers.rabbitmq import RabbitServer, new_queue_name


@dataclass
class VirtualHost:
    server: RabbitServer
    name: str
    url: str

    def permit(self, configure: str, write: str, read: str) -> None:
        self.server.run("set_permissions", "-p", self.name, self.name, configure, write, read)


@pytest.fixture
def virtual_host(rabbitmq: RabbitServer) -> Iterator[VirtualHost]:
    """One of its own, with a user of the same name who may do nothing yet."""
    name = new_queue_name()
    rabbitmq.run("add_vhost", name)
    rabbitmq.run("add_user", name, "pw")
    yield VirtualHost(rabbitmq, name, rabbitmq.url.replace("guest:guest", f"{name}:pw") + name)
    rabbitmq.run("delete_vhost", name)
    rabbitmq.run("delete_user", name)


def test_missing_rights_on_the_broker_are_a_sentence(virtual_host: VirtualHost, mysql_url: str, tmp_path: Path) -> None:
    virtual_host.permit("^$", ".*", ".*")
    done = Site(tmp_path, virtual_host.url, mysql_url, "work").program("migrate")
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "rabbitmqctl set_permissions" in done.stderr


def test_missing_rights_on_the_database_are_a_sentence(amqp_url: str, mariadb: MySqlServer, tmp_path: Path) -> None:
    database, user = mariadb.new_database(), new_queue_name()
    mariadb.execute(f"CREATE USER '{user}'@'%' IDENTIFIED BY 'pw'")
    mariadb.execute(f"GRANT SELECT ON {database}.* TO '{user}'@'%'")
    url = mariadb.url(database, user=user, password="pw")
    done = Site(tmp_path, amqp_url, url, new_queue_name()).program("migrate")
    mariadb.execute(f"DROP USER '{user}'@'%'")
    mariadb.drop_database(database)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "grant the user the rights" in done.stderr


def test_what_is_printed_is_all_that_a_user_without_rights_needs(
    virtual_host: VirtualHost, mysql_url: str, tmp_path: Path
) -> None:
    virtual_host.permit("^$", ".*", ".*")
    site = Site(tmp_path, virtual_host.url, mysql_url, "work.#")
    printed = site.program("migrate", "--print")
    assert printed.returncode == 0, printed.stderr
    (tmp_path / "definitions.json").write_text(printed.stdout, encoding="utf-8")
    virtual_host.server.run("import_definitions", str(tmp_path / "definitions.json"))
    assert site.program("migrate").returncode == 0
    assert site.program("send", "--task-id", "t", "--data", '{"fails": true}').returncode == 0
    # a retry goes through the whole ladder, and a bad message to the dead letters
    site.publish(b"bad")
    site.work(max_retry_count=1, retry_delay=1, idle_timeout=7)
    task = json.loads(site.program("status", "t", "--json").stdout)
    assert (task["status"], task["error_type"], task["attempt"]) == ("failed", "RetryExhausted", 2)
    assert [letter["reason"] for letter in json.loads(site.program("dead", "list", "--json").stdout)] == ["not_json"]


def test_a_migration_may_be_repeated(amqp_url: str, mysql_url: str, tmp_path: Path) -> None:
    site = Site(tmp_path, amqp_url, mysql_url, new_queue_name())
    expected = f"table grid_async_task_tasks is up to date\nqueue {site.queue} exists\nqueue {site.queue}.dead exists\n"
    for _ in range(2):
        done = site.program("migrate")
        assert (done.returncode, done.stdout) == (0, expected), done.stderr


# -- seeing it first ------------------------------------------------------------------------------------


def embedded(tmp_path: Path) -> Site:
    url = f"sqlite:///{tmp_path / 'tasks.db'}"
    return Site(tmp_path, url, url, "work")


def test_a_dry_run_tells_what_is_missing_and_makes_nothing(
    virtual_host: VirtualHost, mysql_url: str, mariadb: MySqlServer, tmp_path: Path
) -> None:
    virtual_host.permit(".*", ".*", ".*")
    site = Site(tmp_path, virtual_host.url, mysql_url, "work")
    for _ in range(2):
        done = site.program("migrate", "--dry-run", "--json")
        assert done.returncode == 0, done.stderr
        kinds = [(each["kind"], each["name"].split(" ")[0]) for each in json.loads(done.stdout)["would_make"]]
        assert kinds == [
            ("queues and exchanges", "the"),
            ("queue", "work"),
            ("queue", "work.dead"),
            *(("migration", f"{number:04}") for number in range(1, int(HEAD) + 1)),
        ]
    assert mariadb.execute("SHOW TABLES", make_url(mysql_url).database) == []
    assert site.program("migrate").returncode == 0
    assert site.program("migrate", "--dry-run").stdout == "nothing to do: table and queues are there, and up to date\n"
    site.queue = "other"
    assert site.program("migrate", "--dry-run").stdout == "would make: queue other\nwould make: queue other.dead\n"


def test_a_dry_run_in_the_embedded_mode_makes_no_file(tmp_path: Path) -> None:
    site = embedded(tmp_path)
    shown = site.program("migrate", "--dry-run").stdout
    assert f"would make: file {tmp_path / 'tasks.db'}\nwould make: queue work\n" in shown
    assert "would make: migration 0001 of grid_async_task_tasks: The table of tasks" in shown
    assert not (tmp_path / "tasks.db").exists()
    assert site.program("migrate").returncode == 0
    assert "nothing to do" in site.program("migrate", "--dry-run").stdout


def test_a_dry_run_says_which_server_is_away(mysql_url: str, tmp_path: Path) -> None:
    done = Site(tmp_path, "amqp://u:s3cret@127.0.0.1:1/", mysql_url, "work").program("migrate", "--dry-run")
    assert done.returncode == 1
    assert "is not reachable" in done.stderr
    assert "s3cret" not in done.stderr
    assert "Traceback" not in done.stderr


def test_the_printed_statements_make_the_same_tables(
    amqp_url: str, mysql_url: str, mariadb: MySqlServer, tmp_path: Path
) -> None:
    """Run by an administrator, they leave a database with which a user without rights to alter it can work."""
    site = Site(tmp_path, amqp_url, mysql_url, new_queue_name())
    database = str(make_url(mysql_url).database)
    printed = site.program("migrate", "--sql")
    assert printed.returncode == 0, printed.stderr
    assert mariadb.execute("SHOW TABLES", database) == []
    for statement in statements(printed.stdout):
        mariadb.execute(statement, database)
    by_hand = tables(mariadb, database)
    user = new_queue_name()
    mariadb.execute(f"CREATE USER '{user}'@'%' IDENTIFIED BY 'pw'")
    mariadb.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {database}.* TO '{user}'@'%'")
    site.mysql_url = mariadb.url(database, user=user, password="pw")
    assert site.program("migrate", "--sql").stdout == "-- table grid_async_task_tasks is up to date: nothing to run\n"
    assert site.program("migrate").returncode == 0
    site.publish(b'{"task_id": "t", "data": {"number": 1}}')
    site.work()
    assert json.loads(site.program("status", "t", "--json").stdout)["status"] == "success"
    mariadb.execute(f"DROP USER '{user}'@'%'")

    other = mariadb.new_database()
    site.mysql_url = mariadb.url(other)
    assert site.program("migrate").returncode == 0
    assert tables(mariadb, other) == by_hand
    mariadb.drop_database(other)


def test_only_what_a_half_migrated_table_needs_is_printed(mysql_url: str, mariadb: MySqlServer, tmp_path: Path) -> None:
    site, database = Site(tmp_path, "memory://", mysql_url, "work"), make_url(mysql_url).database
    whole = site.program("migrate", "--sql", "--json")
    first = json.loads(whole.stdout)[0]
    for statement in statements(first["statements"]):
        mariadb.execute(statement, database)
    rest = json.loads(site.program("migrate", "--sql", "--json").stdout)
    assert [each["revision"] for each in rest] == [f"{number:04}" for number in range(2, int(HEAD) + 1)]
    for each in rest:
        for statement in statements(each["statements"]):
            mariadb.execute(statement, database)
    assert json.loads(site.program("migrate", "--sql", "--json").stdout) == []
    assert mariadb.execute("SELECT version_num FROM grid_async_task_tasks_version", database) == [(HEAD,)]


def test_the_printed_statements_work_on_sqlite_too(tmp_path: Path) -> None:
    site = embedded(tmp_path)
    printed = site.program("migrate", "--sql")
    with closing(sqlite3.connect(tmp_path / "tasks.db")) as connection:
        connection.executescript(printed.stdout)
    assert "is up to date" in site.program("migrate", "--sql").stdout


def test_a_foreign_table_is_not_planned_over(mysql_url: str, mariadb: MySqlServer, tmp_path: Path) -> None:
    mariadb.execute("CREATE TABLE grid_async_task_tasks (id INT, title TEXT)", make_url(mysql_url).database)
    for option in ("--sql", "--dry-run"):
        done = Site(tmp_path, "memory://", mysql_url, "work").program("migrate", option)
        assert (done.returncode, "is not ours" in done.stderr) == (2, True)
    assert Site(tmp_path, "memory://", mysql_url, "work").program("migrate", "--sql", "--print").returncode == 1


def statements(text: str) -> list[str]:
    without_comments = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    return [statement for part in without_comments.split(";") if (statement := part.strip())]


def tables(server: MySqlServer, database: str) -> list[tuple[object, ...]]:
    names = [str(name) for (name,) in server.execute("SHOW TABLES", database)]
    return [server.execute(f"SHOW CREATE TABLE {name}", database)[0] for name in names]
