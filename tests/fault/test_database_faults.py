"""A real MariaDB that is killed, cut off, full, locked or read-only while a real worker runs a task.

Faults strike at exact moments: when the bytes of one statement have been sent. Whatever it is, the worker says so,
gets over it by itself, and what SPEC section 4 promises is checked from outside.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pymysql
import pytest

from grid_async_task import TaskStatus
from tests.database_site import (
    CALLBACK_MARK,
    CLAIM_NEW,
    CLAIM_RECORDED,
    HEARTBEAT_FAILED,
    HEARTBEAT_WORKS,
    OUTCOME,
    RENEWAL,
    TABLE,
    UNAVAILABLE,
    DatabaseSite,
    Write,
    open_database_site,
    outages,
    without_standstills,
)
from tests.servers.http_receiver import Answer, Request
from tests.servers.mariadb import MySqlServer, OwnMariaDb
from tests.waiting import eventually


@pytest.fixture
def site(tmp_path: Path, amqp_url: str, mariadb: MySqlServer, mysql_url: str) -> Iterator[DatabaseSite]:
    with open_database_site(tmp_path, amqp_url, mariadb, mysql_url) as site:
        yield site


@pytest.fixture
def own_site(tmp_path: Path, amqp_url: str, mariadb_own: OwnMariaDb) -> Iterator[DatabaseSite]:
    """On a server that a test may kill, and whose settings it may change."""
    url = mariadb_own.url(mariadb_own.new_database())
    with open_database_site(tmp_path, amqp_url, mariadb_own, url) as site:
        yield site


# -- the answer is lost ---------------------------------------------------------------------------------


@pytest.mark.parametrize("claim", [CLAIM_NEW, CLAIM_RECORDED], ids=lambda claim: claim.name)
def test_the_answer_to_every_write_is_lost(site: DatabaseSite, claim: Write) -> None:
    worker = site.started_worker()
    if claim is CLAIM_RECORDED:
        site.record_long()
    writes = (claim, RENEWAL, OUTCOME, CALLBACK_MARK)
    lost = site.lose_answers(*writes)
    site.finish_file().touch()
    site.publish_long()
    site.assert_promises_kept(worker)
    assert lost == [write.name for write in writes]
    assert len(worker.said("claim found committed after all")) == 1
    # 2013: lost connection during query
    assert ["2013" in error for error in outages(worker)] == [True] * 4


# -- the server is away ---------------------------------------------------------------------------------


def test_the_server_is_killed_at_every_write(own_site: DatabaseSite, mariadb_own: OwnMariaDb) -> None:
    site = own_site
    worker = site.started_worker(lease_seconds=6)

    def killed_at(write: Write, then: Callable[[], object], says: str, times: int = 1) -> None:
        down = threading.Event()

        def kill() -> None:
            mariadb_own.kill()
            site.proxy.cut()  # an answer may be on its way already
            down.set()

        site.proxy.on_client_bytes(write.sql, kill)
        then()
        assert down.wait(30), f"the {write.name} was not sent:\n{worker.log()}"
        eventually(lambda: len(told(says)) == times, what=f"{says} ({times})")

    def told(what: str) -> list[str]:
        return without_standstills([str(line.get("error")) for line in worker.said(what)])

    def idle() -> None:
        """Nothing to do but to wait."""

    killed_at(CLAIM_NEW, site.publish_long, UNAVAILABLE)
    assert site.starts() == []
    mariadb_own.start()
    worker.wait_for_diary("start t 1")
    killed_at(RENEWAL, idle, HEARTBEAT_FAILED)
    mariadb_own.start()
    worker.wait_for_log(HEARTBEAT_WORKS)
    killed_at(OUTCOME, site.finish_file().touch, UNAVAILABLE, times=2)
    assert site.receiver.requests == []
    # a wait for its start could be in vain: the worker may be quicker to connect, and the kill comes with that
    killed_at(CALLBACK_MARK, mariadb_own.start_without_waiting, UNAVAILABLE, times=3)
    mariadb_own.start()
    site.assert_promises_kept(worker)
    assert len(without_standstills(outages(worker))) == 3


def test_what_a_hanging_connection_held_back_arrives_when_nobody_waits_for_it(site: DatabaseSite) -> None:
    worker = site.started_worker(lease_seconds=24)  # an answer is waited for a sixth of it
    site.proxy.hang()
    site.publish_long()
    worker.wait_for_log(UNAVAILABLE)
    site.proxy.resume()
    worker.wait_for_diary("start t 1")
    site.proxy.hang()
    site.finish_file().touch()
    eventually(lambda: len(worker.said(UNAVAILABLE)) == 2, what="the outcome can't be written")
    assert site.task().status is TaskStatus.RUNNING
    site.proxy.resume()
    site.assert_promises_kept(worker)
    assert ["timed out" in error for error in outages(worker)] == [True] * 2


def test_connections_killed_by_an_administrator(site: DatabaseSite) -> None:
    worker = site.started_worker()
    make_wait(site, "INSERT", "TRUE")
    make_wait(site, "UPDATE", "NEW.status = 'success' AND OLD.status = 'running'")
    with site.holding(f"SELECT * FROM {GATE} FOR UPDATE"):
        site.publish_long()
        site.database.execute(f"KILL QUERY {waiting_connection(site)}")
        worker.wait_for_log(UNAVAILABLE)
    worker.wait_for_diary("start t 1")
    with site.holding(f"SELECT * FROM {GATE} FOR UPDATE"):
        site.finish_file().touch()
        site.database.execute(f"KILL {waiting_connection(site)}")
        eventually(lambda: len(worker.said(UNAVAILABLE)) == 2, what="the outcome can't be written")

    def kill_all(request: Request) -> Answer:
        for each in site.connections_of_worker():
            site.database.execute(f"KILL {each}")
        return Answer()

    site.receiver.answer_by(kill_all)
    site.assert_promises_kept(worker)
    of_query, of_busy, of_idle = outages(worker)
    assert "1317" in of_query  # interrupted
    for error in (of_busy, of_idle):
        # the server's last word is that it was killed, where it comes through
        assert any(code in error for code in ("1927", "2006", "2013", "1317")), error


# -- the server refuses ---------------------------------------------------------------------------------


def test_a_server_that_is_read_only_for_a_while(own_site: DatabaseSite) -> None:
    site = own_site
    worker = site.started_worker()
    site.database.execute("SET GLOBAL read_only = 1")
    site.publish_long()
    worker.wait_for_log(UNAVAILABLE)
    assert site.client.get_task("t") is None
    site.database.execute("SET GLOBAL read_only = 0")
    worker.wait_for_diary("start t 1")
    site.database.execute("SET GLOBAL read_only = 1")
    site.finish_file().touch()
    eventually(lambda: len(worker.said(UNAVAILABLE)) == 2, what="the outcome can't be written")
    assert site.task().status is TaskStatus.RUNNING
    site.database.execute("SET GLOBAL read_only = 0")
    site.assert_promises_kept(worker)
    assert ["1290" in error and "read-only" in error for error in outages(worker)] == [True] * 2


def test_locks_of_others_are_waited_for(site: DatabaseSite) -> None:
    worker = site.started_worker()
    with site.holding(f"SELECT * FROM {TABLE} WHERE id > 'a' FOR UPDATE"):  # no row, but the gap where it would be
        site.publish_long()
        worker.wait_for_log(UNAVAILABLE)
    worker.wait_for_diary("start t 1")
    with site.holding(f"SELECT * FROM {TABLE} WHERE id = 't' FOR UPDATE"):
        site.finish_file().touch()
        eventually(lambda: len(worker.said(UNAVAILABLE)) == 2, what="the outcome can't be written")
    site.assert_promises_kept(worker)
    assert ["1205" in error for error in outages(worker)] == [True] * 2


def test_the_victim_of_a_deadlock_tries_again(site: DatabaseSite) -> None:
    worker = site.started_worker()
    make_wait(site, "UPDATE", "NEW.status = 'success' AND OLD.status = 'running'")
    site.publish_long()
    worker.wait_for_diary("start t 1")
    # who has changed more is spared
    with site.holding(f"UPDATE {GATE} SET n = n + 1") as holder:
        site.finish_file().touch()
        waiting_connection(site)
        holder.execute(f"SELECT * FROM {TABLE} WHERE id = 't' FOR UPDATE")
        worker.wait_for_log(UNAVAILABLE)
    site.assert_promises_kept(worker)
    [error] = outages(worker)
    assert "1213" in error


def test_a_server_without_a_free_connection(own_site: DatabaseSite) -> None:
    site = own_site
    site.database.execute("SET GLOBAL max_connections = 10")
    with ExitStack() as taken:
        take_all_connections(site, taken)
        worker = site.starting_worker(lease_seconds=6)
        worker.wait_for_log(UNAVAILABLE)
        assert worker.process.poll() is None
    worker.wait_for_log("worker started")
    site.publish_long()
    worker.wait_for_diary("start t 1")
    with ExitStack() as taken:
        # its own connection dies, and somebody else takes the place
        for each in site.connections_of_worker():
            site.database.execute(f"KILL {each}")
        take_all_connections(site, taken)
        worker.wait_for_log(HEARTBEAT_FAILED)
        site.finish_file().touch()
        eventually(
            lambda: len(without_standstills([line["error"] for line in worker.said(UNAVAILABLE)])) == 2,
            what="the outcome can't be written",
        )
    site.assert_promises_kept(worker)
    assert ["1040" in error for error in without_standstills(outages(worker))] == [True] * 2


def take_all_connections(site: DatabaseSite, taken: ExitStack) -> None:
    with suppress(pymysql.OperationalError):
        while True:
            taken.enter_context(
                closing(pymysql.connect(host="127.0.0.1", port=site.port, user=site.user, password="pw"))
            )


def test_another_process_that_migrates_for_ever_is_waited_for(site: DatabaseSite) -> None:
    of_what = f"{site.name}.{TABLE}".encode()
    lock = f"grid_async_task:{hashlib.sha256(of_what).hexdigest()[:32]}"
    with site.holding(f"SELECT GET_LOCK('{lock}', 0)"):
        worker = site.starting_worker(lease_seconds=6)
        worker.wait_for_log(UNAVAILABLE)
        assert worker.process.poll() is None
    worker.wait_for_log("worker started")
    site.finish_file().touch()
    site.publish_long()
    site.assert_promises_kept(worker)
    [error] = outages(worker)
    # the lock is waited for 1 s, an answer 2 s: where the server stands still in between it is the latter
    assert error == f"another process is migrating {TABLE}" or "timed out" in error


# -- statements that wait -------------------------------------------------------------------------------

GATE = "gate"


def make_wait(site: DatabaseSite, event: str, condition: str) -> None:
    """The worker's statements of that kind wait, in their middle, for whoever holds the gate; with time to look."""
    site.database.execute(f"CREATE TABLE IF NOT EXISTS {GATE} (id INT PRIMARY KEY, n INT)", site.name)
    rows = ", ".join(f"({number}, 0)" for number in range(1, 101))
    site.database.execute(f"INSERT IGNORE INTO {GATE} VALUES {rows}", site.name)
    site.database.execute(
        f"CREATE TRIGGER wait_at_{event} BEFORE {event} ON {TABLE} FOR EACH ROW IF {condition} THEN"
        f" SET SESSION innodb_lock_wait_timeout = 30; UPDATE {GATE} SET n = n + 1 WHERE id = 1; END IF",
        site.name,
    )


def waiting_connection(site: DatabaseSite) -> int:
    """The worker's, once it waits at the gate."""

    def look() -> int | None:
        # InnoDB brings this view up to date only where nobody has looked at it for 0.1 s
        threading.Event().wait(0.15)
        found = site.database.execute(
            f"SELECT id FROM information_schema.processlist WHERE db = '{site.name}' AND id IN"
            " (SELECT trx_mysql_thread_id FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT')"
        )
        return int(str(found[0][0])) if found else None

    number = eventually(look, what="the worker waits for a lock")
    assert number is not None
    return number
