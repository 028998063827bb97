"""Every write of a worker under every fault of its database, a slow server, and a full disk."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pymysql
import pytest

from tests.database_site import (
    CALLBACK_MARK,
    CALLBACK_TAKE,
    CLAIM_NEW,
    CLAIM_RECORDED,
    HEARTBEAT_FAILED,
    OUTCOME,
    RENEWAL,
    TABLE,
    UNAVAILABLE,
    DatabaseSite,
    Write,
    open_database_site,
    outages,
)
from tests.servers.mariadb import OwnMariaDb
from tests.waiting import eventually

#: seconds; a worker waits a sixth of it for an answer
LEASE_S = 12
#: seconds within which a callback must have come whose take has lost its answer: it is held for 61 s
CALLBACK_WITHIN_S = 120.0


@pytest.fixture
def site(tmp_path: Path, amqp_url: str, mariadb_own: OwnMariaDb) -> Iterator[DatabaseSite]:
    url = mariadb_own.url(mariadb_own.new_database())
    with open_database_site(tmp_path, amqp_url, mariadb_own, url) as site:
        yield site


def lost_answer(site: DatabaseSite, server: OwnMariaDb, write: Write) -> None:
    eventually(lambda: site.has(write), what=f"the {write.name} is committed")
    site.proxy.cut()


def hang(site: DatabaseSite, server: OwnMariaDb, write: Write) -> None:
    site.proxy.hang()


def kill(site: DatabaseSite, server: OwnMariaDb, write: Write) -> None:
    server.kill()
    site.proxy.cut()  # an answer may be on its way already


def kill_after_commit(site: DatabaseSite, server: OwnMariaDb, write: Write) -> None:
    eventually(lambda: site.has(write), what=f"the {write.name} is committed")
    site.client.close()  # the test's own way to the server
    site.proxy.cut()  # the answer is on its way already
    server.kill()


def heal(site: DatabaseSite, server: OwnMariaDb) -> None:
    site.proxy.resume()
    if not server.is_running:
        server.start()


Fault = Callable[[DatabaseSite, OwnMariaDb, Write], None]


@pytest.mark.timeout(400)
@pytest.mark.parametrize("fault", [lost_answer, hang, kill, kill_after_commit])
@pytest.mark.parametrize(
    "write",
    [CLAIM_NEW, CLAIM_RECORDED, RENEWAL, OUTCOME, CALLBACK_TAKE, CALLBACK_MARK],
    ids=lambda write: write.name,
)
def test_every_write_under_every_fault(site: DatabaseSite, mariadb_own: OwnMariaDb, write: Write, fault: Fault) -> None:
    worker = site.started_worker(lease_seconds=LEASE_S, callback_timeout=1)
    if write is CLAIM_RECORDED:
        site.record_long()
    struck = threading.Event()

    def strike() -> None:
        fault(site, mariadb_own, write)
        struck.set()

    site.proxy.on_client_bytes(write.sql, strike)
    if write is not RENEWAL:
        site.finish_file().touch()
    site.publish_long()
    assert struck.wait(60), f"the {write.name} was not sent:\n{worker.log()}"
    says = HEARTBEAT_FAILED if write is RENEWAL else UNAVAILABLE
    eventually(lambda: worker.said(says), what=says)
    heal(site, mariadb_own)
    site.finish_file().touch()
    site.assert_promises_kept(worker, callback_within_s=CALLBACK_WITHIN_S)
    assert len(worker.said(says)) == 1
    outages(worker)


def test_a_slow_server_costs_time_and_no_lease(site: DatabaseSite) -> None:
    lease_s = 5
    worker = site.started_worker(lease_seconds=lease_s)
    site.proxy.delay(0.3)
    site.publish_long()
    worker.wait_for_diary("start t 1")
    first = site.task().wake_at
    assert first is not None

    def is_renewed() -> bool:
        [(still_held, renewed)] = site.database.execute(
            f"SELECT wake_at > UTC_TIMESTAMP(6), wake_at > '{first:%F %T}' + INTERVAL {lease_s} SECOND"
            f" FROM {TABLE} WHERE id = 't'",
            site.name,
        )
        assert still_held
        return bool(renewed)

    eventually(is_renewed, what="it runs on when its first lease is over")
    site.finish_file().touch()
    site.assert_promises_kept(worker)
    assert worker.said(UNAVAILABLE) == worker.said(HEARTBEAT_FAILED) == []


def test_a_full_disk_that_is_made_larger(tmp_path: Path, amqp_url: str, mariadb_own: OwnMariaDb) -> None:
    """All tables in one file that may not grow: to InnoDB that is the same, and it takes no rights of root."""
    restart_with_larger_disk(mariadb_own)
    url = mariadb_own.url(mariadb_own.new_database())
    with open_database_site(tmp_path, amqp_url, mariadb_own, url) as site:
        worker = site.started_worker()
        site.database.execute("CREATE TABLE filler (x LONGTEXT)", site.name)
        fill_disk(site)
        site.publish_long(returns={"large": "x" * 300_000})
        worker.wait_for_log(UNAVAILABLE)
        assert site.statuses() == []
        restart_with_larger_disk(mariadb_own)
        worker.wait_for_diary("start t 1")
        fill_disk(site)
        site.finish_file().touch()
        eventually(lambda: len(worker.said(UNAVAILABLE)) == 2, what="the outcome can't be written")
        assert site.statuses() == ["running"]
        restart_with_larger_disk(mariadb_own, by_mb=64)
        site.assert_promises_kept(worker)
        assert ["1114" in error and "is full" in error for error in outages(worker)] == [True] * 2


def restart_with_larger_disk(server: OwnMariaDb, by_mb: int = 4) -> None:
    server.kill()
    size_mb = server.size_mb("ibdata1") + by_mb
    server.start(
        "--innodb-file-per-table=0",
        f"--innodb-data-file-path=ibdata1:12M:autoextend:max:{size_mb}M",
        "--innodb-autoextend-increment=1",
    )


def fill_disk(site: DatabaseSite) -> None:
    with suppress(pymysql.OperationalError):
        while True:
            site.database.execute("INSERT INTO filler VALUES (REPEAT('x', 200000))", site.name)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system: run it with sudo, or in a container with CAP_SYS_ADMIN")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=220m", "tmpfs", disk], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"no small file system to be had, use a container with CAP_SYS_ADMIN: {mounted.stderr}")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_file_system_without_a_free_byte(tmp_path: Path, amqp_url: str, small_disk: Path) -> None:
    """MariaDB may die of it; to the worker that is one more outage."""
    server = OwnMariaDb(small_disk)
    site_folder = tmp_path / "site"
    site_folder.mkdir()
    with open_database_site(site_folder, amqp_url, server, server.url(server.new_database())) as site:
        worker = site.started_worker()
        filler = take_the_rest_of(small_disk)
        site.publish_long(returns={"large": "x" * 300_000})
        worker.wait_for_log(UNAVAILABLE)
        filler.unlink()
        server.restart()
        worker.wait_for_diary("start t 1")
        filler = take_the_rest_of(small_disk)
        site.finish_file().touch()
        eventually(lambda: len(worker.said(UNAVAILABLE)) == 2, what="the outcome can't be written")
        filler.unlink()
        server.restart()
        site.assert_promises_kept(worker)
        outages(worker)
    server.remove()


def take_the_rest_of(disk: Path) -> Path:
    filler = disk / "filler"
    with filler.open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 65_536)
    return filler
