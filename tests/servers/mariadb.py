"""A MariaDB (or MySQL) server for tests: the one in GRID_TEST_MYSQL_URL, else an own one on a free port."""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pymysql
import pytest
from sqlalchemy import URL, make_url

from tests.servers.broken_server import ServerLostItsData
from tests.servers.ports import free_port

MISSING = (
    "no MySQL or MariaDB to test with: install one (apt-get install --no-install-recommends mariadb-server) "
    "or name one in GRID_TEST_MYSQL_URL=mysql+pymysql://root:password@host:3306/"
)
START_TIMEOUT_S = 60
#: what InnoDB says of data that it can't make good
RECOVERY_FAILED = "InnoDB: Plugin initialization aborted with error Data structure corruption"
_numbers = itertools.count(1)


class MySqlServer:
    """A server somebody else runs: databases can be made, and that is all."""

    def __init__(self, root: URL) -> None:
        self._root = root.set(drivername="mysql+pymysql")

    def url(self, database: str, *, user: str | None = None, password: str | None = None) -> str:
        root = self._root if user is None else self._root.set(username=user, password=password)
        return root.set(database=database, query={"charset": "utf8mb4"}).render_as_string(hide_password=False)

    def new_database(self) -> str:
        """A bare CREATE DATABASE whose character set is latin1, as on servers that nobody has configured."""
        name = f"grid_test_{os.getpid()}_{next(_numbers)}"
        self.execute(f"CREATE DATABASE {name} CHARACTER SET latin1")
        return name

    def drop_database(self, name: str) -> None:
        self.execute(f"DROP DATABASE {name}")

    def connect(self, database: str | None = None) -> pymysql.Connection[pymysql.cursors.Cursor]:
        return pymysql.connect(
            host=self._root.host or "127.0.0.1",
            port=self._root.port or 3306,
            user=self._root.username,
            password=str(self._root.password or "").encode("utf-8"),
            database=database,
            autocommit=True,
            connect_timeout=5,
        )

    def execute(self, statement: str, database: str | None = None) -> list[tuple[object, ...]]:
        connection = self.connect(database)
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall())
        finally:
            connection.close()


class OwnMariaDb(MySqlServer):
    """A server of our own, which may be killed. Its durability is the default one."""

    def __init__(self, disk: Path | None = None) -> None:
        """`disk` is where its folder is made; None: where temporary files are."""
        self._folder = Path(tempfile.mkdtemp(prefix="grid-mariadb-", dir=disk))
        self._process: subprocess.Popen[bytes] | None = None
        super().__init__(URL.create("mysql+pymysql", "grid", "s3cret/p@ss:word", "127.0.0.1", free_port()))
        atexit.register(self.remove)
        self._create()
        self.start()

    def _create(self) -> None:
        data = self._folder / "data"
        first_statements = self._folder / "first.sql"
        first_statements.write_text(
            f"CREATE USER '{self._root.username}'@'%' IDENTIFIED BY '{self._root.password}';\n"
            f"GRANT ALL ON *.* TO '{self._root.username}'@'%' WITH GRANT OPTION;\n",
            encoding="utf-8",
        )
        installer = shutil.which("mariadb-install-db") or shutil.which("mysql_install_db")
        assert installer is not None, MISSING
        made = subprocess.run(
            [installer, "--no-defaults", f"--datadir={data}", *_as_root(), "--skip-test-db"],
            env={**os.environ, "TMPDIR": str(self._folder)},  # for the same reason as below
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT_S,
        )
        assert made.returncode == 0, made.stdout + made.stderr
        # the tables of users exist only now, so the first start reads these statements and the later ones do not
        self.start(f"--init-file={first_statements}")
        self.stop()

    def start(self, *options: str) -> None:
        """Start it, and wait until it takes connections."""
        self.start_without_waiting(*options)
        self._wait_until_it_answers()

    def start_without_waiting(self, *options: str) -> None:
        program = _server_program()
        assert program is not None, MISSING
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    program,
                    "--no-defaults",
                    *_as_root(),
                    f"--datadir={self._folder / 'data'}",
                    f"--socket={self._folder / 'socket'}",
                    # a server that starts removes every temporary table in its folder, other servers' too
                    f"--tmpdir={self._folder}",
                    f"--pid-file={self._folder / 'pid'}",
                    "--bind-address=127.0.0.1",
                    f"--port={self._root.port}",
                    "--skip-name-resolve",
                    "--character-set-server=latin1",
                    *options,
                ],
                stdout=log,
                stderr=log,
            )

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                return self.connect().close()
            except pymysql.MySQLError as error:
                ended = self._process is None or self._process.poll() is not None
                if ended or time.monotonic() > deadline:
                    said = (self._folder / "log").read_text(errors="replace")[-2000:]
                    if RECOVERY_FAILED in said:
                        raise ServerLostItsData(said) from None
                    pytest.fail(f"MariaDB did not start ({error}):\n{said}")
                time.sleep(0.05)

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def restart(self) -> None:
        """kill -9, then start: what was committed has to be there again."""
        self.kill()
        self.start()

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """It takes connections (the kernel does) and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def size_mb(self, file: str) -> int:
        """How many MiB a file of its data folder has, rounded up."""
        return -(-(self._folder / "data" / file).stat().st_size // 2**20)

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.send_signal(signal.SIGCONT)
            self._process.wait(timeout=START_TIMEOUT_S)
            self._process = None


def _server_program() -> str | None:
    return shutil.which("mariadbd", path=_path()) or shutil.which("mysqld", path=_path())


def _path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"


def _as_root() -> list[str]:
    return ["--user=root"] if os.geteuid() == 0 else []


def _own_server() -> OwnMariaDb:
    if _server_program() is None:
        pytest.fail(MISSING)
    return OwnMariaDb()


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MySqlServer]:
    """The server that tests share; nobody may stop it."""
    given = os.environ.get("GRID_TEST_MYSQL_URL")
    if given:
        yield MySqlServer(make_url(given))
        return
    server = _own_server()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def _killable_mariadb() -> Iterator[list[OwnMariaDb]]:
    """The one that is in use."""
    in_use = [_own_server()]
    yield in_use
    in_use[0].remove()


@pytest.fixture
def mariadb_own(_killable_mariadb: list[OwnMariaDb]) -> Iterator[OwnMariaDb]:
    """A server that a test may kill, pause and stop; it runs again afterwards, or a new one does."""
    yield _killable_mariadb[0]
    try:
        _killable_mariadb[0].restart()
    except ServerLostItsData:
        _killable_mariadb[0].remove()
        _killable_mariadb[0] = _own_server()


@pytest.fixture
def mysql_url(mariadb: MySqlServer) -> Iterator[str]:
    """The URL of a fresh, empty database."""
    name = mariadb.new_database()
    yield mariadb.url(name)
    mariadb.drop_database(name)
