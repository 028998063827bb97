"""`check` on installations that are well, and on broken ones."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pika
import pytest
import structlog
from sqlalchemy import make_url

from grid_async_task.adapters.rabbitmq.inspection import RabbitInspector
from grid_async_task.cli.program import run
from tests.cli_site import Site
from tests.servers.mariadb import MySqlServer, OwnMariaDb
from tests.servers.rabbitmq import RabbitServer, new_queue_name


@dataclass
class Checked:
    code: int
    findings: list[dict[str, str]]

    def said(self, level: str, text: str) -> bool:
        return any(each["level"] == level and text in each["text"] for each in self.findings)

    @property
    def errors(self) -> list[str]:
        return [each["text"] for each in self.findings if each["level"] == "error"]


@dataclass
class Checker:
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]
    site: Site = field(init=False)

    def call(self, *arguments: str) -> tuple[int, str]:
        for name, value in self.site.variables.items():
            self.monkeypatch.setenv(name, value)
        self.capsys.readouterr()
        code = run(arguments)
        printed = self.capsys.readouterr()
        assert "Traceback" not in printed.err
        return code, printed.out

    def migrate(self) -> None:
        assert self.call("migrate")[0] == 0

    def check(self) -> Checked:
        code, output = self.call("check", "--json")
        return Checked(code, json.loads(output))


@pytest.fixture
def checker(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[Checker]:
    monkeypatch.chdir(tmp_path)
    yield Checker(monkeypatch, capsys)
    structlog.reset_defaults()


@pytest.fixture
def servers(checker: Checker, amqp_url: str, mysql_url: str, tmp_path: Path) -> Checker:
    checker.site = Site(tmp_path, amqp_url, mysql_url, new_queue_name())
    return checker


def test_a_new_installation_lacks_queue_and_table_until_it_is_migrated(servers: Checker) -> None:
    before = servers.check()
    assert before.code == 1
    assert before.said("error", f"{servers.site.queue} does not exist")
    assert before.said("error", "grid_async_task_tasks does not exist yet")
    servers.migrate()
    after = servers.check()
    assert (after.code, after.errors) == (0, [])
    assert after.said("ok", "RabbitMQ ")
    assert after.said("ok", "clock and this machine's agree")
    assert after.said("warning", "its default character set is latin1")


def test_an_embedded_installation(checker: Checker, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'tasks.db'}"
    checker.site = Site(tmp_path, url, url, "work")
    before = checker.check()
    assert (before.code, len(before.errors)) == (1, 2)
    assert not (tmp_path / "tasks.db").exists(), "a look makes no file"
    checker.migrate()
    assert (checker.check().code, checker.check().errors) == (0, [])
    code, output = checker.call("check")
    assert (code, output.splitlines()[-1]) == (0, "0 errors, 0 warnings")
    checker.site.queue = "another"
    assert checker.check().errors == ["another does not exist yet"]
    (tmp_path / "tasks.db").write_bytes(b"not a database, but long enough to be looked at" * 50)
    assert checker.check().code == 1


def test_servers_that_can_not_be_reached(checker: Checker, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = f"u:s3cret@127.0.0.1:{free.getsockname()[1]}"
    checker.site = Site(tmp_path, f"amqp://{nowhere}/", f"mysql+pymysql://{nowhere}/db", "q")
    checked = checker.check()
    assert checked.code == 1
    assert [each["subject"] for each in checked.findings if each["level"] == "error"] == ["broker", "database"]
    assert "s3cret" not in json.dumps(checked.findings)


def test_a_broker_that_hangs_up_in_the_moment_of_the_connection() -> None:
    """pika says so with a ValueError, in about one of twenty connections."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        done = threading.Event()

        def hang_up() -> None:
            while not done.is_set():
                with contextlib.suppress(TimeoutError):
                    taken, _ = listener.accept()
                    taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
                    taken.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        inspector = RabbitInspector(f"amqp://127.0.0.1:{listener.getsockname()[1]}/", "q", "q.dead")
        findings = [finding for _ in range(150) for finding in inspector.inspect()]
        done.set()
        thread.join()
    assert len(findings) == 150
    assert all("is not reachable" in finding.text for finding in findings)


def test_logins_that_are_refused(servers: Checker, mariadb: MySqlServer) -> None:
    servers.site.amqp_url = servers.site.amqp_url.replace("guest:guest", "guest:wr0ng")
    servers.site.mysql_url = mariadb.url("some_db", user="nobody", password="wr0ng")
    checked = servers.check()
    assert checked.code == 1
    assert checked.said("error", "refuses the user 'guest'")
    assert checked.said("error", "Access denied")
    assert "wr0ng" not in json.dumps(checked.findings)


def test_a_virtual_host_and_a_database_that_do_not_exist(servers: Checker, mariadb: MySqlServer) -> None:
    servers.site.amqp_url += "nowhere"
    servers.site.mysql_url = mariadb.url("no_such_db")
    checked = servers.check()
    assert checked.said("error", "nowhere refuses the user 'guest'")
    assert checked.said("error", "no_such_db")


def test_the_table_of_the_reference(servers: Checker, mariadb: MySqlServer) -> None:
    database = make_url(servers.site.mysql_url).database
    mariadb.execute(
        "CREATE TABLE grid_async_task_tasks (id INT AUTO_INCREMENT PRIMARY KEY, task_id VARCHAR(255))", database
    )
    checked = servers.check()
    assert checked.said("error", "was made by grid-async-task 1.x")
    (finding,) = [each for each in checked.findings if each["subject"] == "table"]
    assert "migrate --from-reference" in finding["advice"]


def test_a_table_that_can_not_hold_every_text(servers: Checker, mariadb: MySqlServer) -> None:
    servers.migrate()
    database = make_url(servers.site.mysql_url).database
    mariadb.execute("ALTER TABLE grid_async_task_tasks MODIFY task_type VARCHAR(100) CHARACTER SET latin1", database)
    assert servers.check().said("error", "not utf8mb4 and can't hold every text: task_type")


def test_messages_that_are_larger_than_the_databases_packets(servers: Checker) -> None:
    servers.migrate()
    servers.site.more = {"MESSAGE_MAX_BYTES": str(10**9)}
    assert servers.check().said("error", "larger tasks become dead letters")
    servers.site.more = {"MESSAGE_MAX_BYTES": "1000", "RESULT_MAX_BYTES": str(16 * 1024**2)}
    checked = servers.check()
    assert checked.said("warning", "which quoting in SQL may double")
    assert checked.code == 0


@pytest.fixture
def logging_mariadb(mariadb_own: OwnMariaDb) -> Iterator[OwnMariaDb]:
    """With a binary log; in good order on leaving, since what such a server leaves half done only it can finish."""
    mariadb_own.stop()
    mariadb_own.start("--log-bin=binary-log", "--binlog-format=ROW")
    yield mariadb_own
    mariadb_own.stop()
    mariadb_own.start()


def test_a_binary_log_of_whole_rows_and_a_read_only_server(servers: Checker, logging_mariadb: OwnMariaDb) -> None:
    servers.site.mysql_url = logging_mariadb.url(logging_mariadb.new_database())
    servers.migrate()
    assert servers.check().said("warning", "binlog_row_image is FULL")
    logging_mariadb.execute("SET GLOBAL binlog_row_image = 'NOBLOB'")
    logging_mariadb.execute("SET GLOBAL read_only = 1")
    checked = servers.check()
    assert not checked.said("warning", "binlog_row_image")
    assert checked.said("error", "read-only")


@pytest.mark.parametrize(
    ("durable", "arguments", "level", "text"),
    [
        (False, {}, "error", "is not durable"),
        (True, {"x-message-ttl": 60_000}, "error", "has x-message-ttl"),
        (True, {"x-expires": 60_000}, "error", "has x-expires"),
        (True, {"x-max-length": 10}, "error", "its oldest tasks vanish"),
        (True, {"x-max-length": 10, "x-overflow": "reject-publish"}, "warning", "holds up the retries"),
        (True, {"x-queue-type": "quorum", "x-single-active-consumer": True}, "warning", "all others wait"),
    ],
)
def test_a_queue_with_arguments_that_hurt(
    servers: Checker, durable: bool, arguments: dict[str, Any], level: str, text: str
) -> None:
    with pika.BlockingConnection(pika.URLParameters(servers.site.amqp_url)) as connection:
        connection.channel().queue_declare(servers.site.queue, durable=durable, arguments=arguments)
    servers.migrate()
    assert servers.check().said(level, text)


@pytest.mark.parametrize("kind", ["quorum", "classic"])
def test_either_type_of_queue_is_fine_and_named(servers: Checker, kind: str) -> None:
    servers.site.more = {"QUEUE_TYPE": kind}
    servers.migrate()
    checked = servers.check()
    assert checked.errors == []
    assert checked.said("ok", f"is a {kind} queue")


def test_dead_letters_and_a_handler_that_can_not_be_imported(servers: Checker) -> None:
    servers.site.more = {"HANDLER": "nowhere:Handler"}
    servers.migrate()
    servers.site.publish(b"bad")
    servers.site.work()
    checked = servers.check()
    assert checked.said("warning", "holds 1 dead letters")
    assert checked.said("error", "No module named 'nowhere'")


# -- rights, clocks, migrations ---------------------------------------------------------------------------


@pytest.fixture
def restricted(servers: Checker, mariadb: MySqlServer) -> Iterator[Callable[[str], None]]:
    """Make the site's login one that has just these rights in its database. All is migrated before."""
    servers.migrate()
    database = str(make_url(servers.site.mysql_url).database)
    user = f"u_{database}"[:32]
    mariadb.execute(f"CREATE USER '{user}'@'%' IDENTIFIED BY 'pw'")

    def grant(rights: str) -> None:
        mariadb.execute(f"GRANT {rights} ON `{database}`.* TO '{user}'@'%'")
        servers.site.mysql_url = mariadb.url(database, user=user, password="pw")

    yield grant
    mariadb.execute(f"DROP USER '{user}'@'%'")


def test_rights_that_workers_lack_in_the_database(servers: Checker, restricted: Callable[[str], None]) -> None:
    restricted("SELECT, INSERT, CREATE, ALTER, INDEX")
    checked = servers.check()
    lacking = "lacks UPDATE on grid_async_task_tasks, DELETE on grid_async_task_tasks, UPDATE on"
    assert checked.said("error", lacking)
    assert checked.code == 1
    restricted("UPDATE, DELETE")
    checked = servers.check()
    assert (checked.errors, checked.said("ok", "may read and write the tables")) == ([], True)
    assert not checked.said("ok", "may not make or alter tables")


def test_a_login_that_may_not_migrate(
    servers: Checker, mariadb: MySqlServer, restricted: Callable[[str], None]
) -> None:
    """Is fine until there is something to migrate."""
    database = make_url(servers.site.mysql_url).database
    restricted("SELECT, INSERT, UPDATE, DELETE")
    checked = servers.check()
    assert checked.errors == []
    assert checked.said("ok", "may not make or alter tables: there is no grant of CREATE, ALTER, INDEX")
    mariadb.execute("UPDATE grid_async_task_tasks_version SET version_num = '0001'", database)
    checked = servers.check()
    assert checked.said("warning", "migrations 0002, 0003 are pending")
    assert checked.said("error", "may not make or alter tables")
    (advice,) = [each["advice"] for each in checked.findings if each["level"] == "error"]
    assert "migrate --sql" in advice


def test_a_table_of_a_newer_version(servers: Checker, mariadb: MySqlServer) -> None:
    servers.migrate()
    database = make_url(servers.site.mysql_url).database
    mariadb.execute("UPDATE grid_async_task_tasks_version SET version_num = '0999'", database)
    checked = servers.check()
    assert (checked.errors, checked.said("ok", "newer than this package")) == ([], True)


def test_rights_that_a_user_lacks_on_the_broker(servers: Checker, rabbitmq: RabbitServer) -> None:
    servers.migrate()
    servers.site.publish(b'{"task_id": "t"}')
    user, queue = new_queue_name(), servers.site.queue
    rabbitmq.run("add_user", user, "pw")
    as_guest, servers.site.amqp_url = servers.site.amqp_url, servers.site.amqp_url.replace("guest:guest", f"{user}:pw")
    rabbitmq.run("set_permissions", user, "^$", "^amq.default$", ".*")
    checked = servers.check()
    (text,) = checked.errors
    assert "may not write to grid_async_task.due, write to grid_async_task.delay.0" in text
    assert "read" not in text
    assert checked.said("ok", "may not make queues")
    rabbitmq.run("set_permissions", user, ".*", ".*", "^none$")
    checked = servers.check()
    assert checked.said("error", f"may not read {queue}, read {queue}.dead")
    assert not checked.said("ok", "may not make queues")
    rabbitmq.run("set_permissions", user, "^$", ".*", ".*")
    assert servers.check().errors == []
    # whoever looked has taken, sent and made nothing
    servers.site.amqp_url = as_guest
    taken = servers.site.take_all()
    assert [(each.body, each.delivery_count) for each in taken] == [(b'{"task_id": "t"}', 0)]
    rabbitmq.run("delete_user", user)


def test_the_databases_time_zone_and_a_clock_that_is_wrong(servers: Checker, mariadb_own: OwnMariaDb) -> None:
    servers.site.mysql_url = mariadb_own.url(mariadb_own.new_database())
    servers.migrate()
    mariadb_own.execute("SET GLOBAL time_zone = '+08:00'")
    checked = servers.check()
    assert checked.said("ok", "time zone is +08:00, +8 h from UTC; the times in our tables are UTC")
    assert checked.said("ok", "clock and this machine's agree")
    now = mariadb_own.execute("SELECT UNIX_TIMESTAMP()")[0][0]
    assert isinstance(now, int)
    # the server takes this for the time of every new session
    mariadb_own.execute(f"SET GLOBAL init_connect = 'SET timestamp = {now - 3600}'")
    plain = f"u_{new_queue_name()}"[:32]
    database = make_url(servers.site.mysql_url).database
    mariadb_own.execute(f"CREATE USER '{plain}'@'%' IDENTIFIED BY 'pw'")
    mariadb_own.execute(f"GRANT ALL ON {database}.* TO '{plain}'@'%'")
    servers.site.mysql_url = mariadb_own.url(str(database), user=plain, password="pw")
    checked = servers.check()
    assert checked.said("warning", "differ by 36")
    assert checked.code == 0
