"""A real RabbitMQ for the tests: its own directories, ports and epmd, started when the first test asks for it."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pika
import pika.exceptions
import pytest

from grid_async_task.adapters.rabbitmq import RabbitMessagePublisher
from tests.servers.ports import free_port

#: Debian's wrapper of the same name in /usr/sbin changes the user and loses the environment
DEBIAN_SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
#: seconds for a start; a loaded machine needs its time
START_TIMEOUT_S = 90.0
HOW_TO_GET_ONE = (
    "these tests need a RabbitMQ server: `apt-get install --no-install-recommends rabbitmq-server`, "
    "or set GRID_TEST_AMQP_URL to the URL of one that they may use"
)


def new_queue_name() -> str:
    """The name of a queue that no other test uses."""
    return f"test-{uuid.uuid4().hex[:12]}"


class RabbitServer:
    """A broker of our own, to be killed and started as a test wants."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._port, self._dist_port, self._epmd_port = free_port(), free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._epmd: subprocess.Popen[bytes] | None = None
        self.url = f"amqp://guest:guest@127.0.0.1:{self._port}/"

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        self.start_without_waiting()
        self.wait_until_ready()

    def start_without_waiting(self) -> None:
        self._start_epmd()
        with (self._directory / "output.log").open("ab") as output:
            self._process = subprocess.Popen(
                [str(_server_program())],
                env=self._environment(),
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # a process group of its own, so that all of it can be killed
            )

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                pika.BlockingConnection(pika.URLParameters(self.url)).close()
            # ValueError: pika's answer to a server that ends in the very moment of the connection
            except (pika.exceptions.AMQPError, OSError, ValueError) as error:
                if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"RabbitMQ did not start: {error!r}\n{self._output()}")
                time.sleep(0.1)
            else:
                return

    def stop(self) -> None:
        """Kill -9: what it has confirmed has to be on its disk."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def ensure_running(self) -> None:
        """Whatever the test before has left."""
        if self._process is None or self._process.poll() is not None:
            self.start()
        else:
            self.thaw()
            self.wait_until_ready()

    def freeze(self) -> None:
        """It hangs: connections stay open, answers do not come."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGCONT)

    def restart(self) -> None:
        self.stop()
        self.start()

    def shut_down(self) -> None:
        """Leave nothing behind."""
        self.stop()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()
            self._epmd = None

    def run(self, *command: str) -> str:
        """A `rabbitmqctl` command on this server."""
        program = _server_program().with_name("rabbitmqctl")
        done = subprocess.run(
            [str(program), *command], env=self._environment(), capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def set_ack_timeout(self, milliseconds: int, *, tick_ms: int) -> None:
        """How long a consumer may hold a message, and how often that is looked at; for channels opened from now on.

        Until the next start.
        """
        values = {"consumer_timeout": milliseconds, "channel_tick_interval": tick_ms}
        self.run("eval", ", ".join(f"application:set_env(rabbit, {name}, {n})" for name, n in values.items()) + ".")

    def messages(self, queue: str) -> int:
        """Of a classic queue: those that are ready, and those in the hands of consumers."""
        lines = self.run("list_queues", "--quiet", "--no-table-headers", "name", "messages").splitlines()
        return int(dict(line.split("\t") for line in lines).get(queue, 0))

    def make_delay_ladder(self) -> None:
        """Declare it and have it written to the disk, so that a test may kill the broker a moment later.

        A quorum queue's place in the broker's own directory of queues is synced only some time after its declaration
        is confirmed (seen on 3.10.8): killed before that, the queue that was declared last has no leader ever after,
        and what is published to it is never confirmed.
        """
        publisher = RabbitMessagePublisher(self.url)
        try:
            publisher.declare(new_queue_name())
        finally:
            publisher.close()
        self.sync_delay_ladder()

    def sync_delay_ladder(self) -> None:
        """The same for one that somebody else has declared."""
        self.run("eval", "[dets:sync(Table) || Table <- dets:all()].")

    def _start_epmd(self) -> None:
        # Started by the broker it would become a daemon that outlives us; so it is started first, as our child.
        program = shutil.which("epmd")
        if program is not None and self._epmd is None:
            self._epmd = subprocess.Popen([program], env=self._environment(), stdin=subprocess.DEVNULL)

    def _environment(self) -> dict[str, str]:
        own = self._directory
        return {
            **{name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ},
            "HOME": str(own),  # where the Erlang cookie lies
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"test{self._port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self._port),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_MNESIA_BASE": str(own / "mnesia"),
            "RABBITMQ_LOG_BASE": str(own / "log"),
            "RABBITMQ_PID_FILE": str(own / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(own / "enabled_plugins"),
            "RABBITMQ_CONFIG_FILE": str(own / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(own / "advanced.config"),
            # one scheduler that does not spin: the tests share a small machine
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
        }

    def _output(self) -> str:
        return (self._directory / "output.log").read_text(errors="replace")[-3000:]


def _server_program() -> Path:
    if DEBIAN_SERVER.exists():
        return DEBIAN_SERVER
    found = shutil.which("rabbitmq-server")
    if found is None:
        pytest.fail(HOW_TO_GET_ONE)
    return Path(found)


@contextlib.contextmanager
def _own_server() -> Iterator[RabbitServer]:
    directory = Path(tempfile.mkdtemp(prefix="rabbitmq-"))
    (directory / "enabled_plugins").write_text("[].\n")
    (directory / "rabbitmq.conf").write_text("log.file.level = warning\n")
    # An expired message whose next queue was not up yet, just after a start, is sent on again after this time;
    # a test can't wait for the three minutes that are the broker's default.
    (directory / "advanced.config").write_text("[{rabbit, [{dead_letter_worker_publisher_confirm_timeout, 3000}]}].\n")
    server = RabbitServer(directory)
    atexit.register(server.shut_down)
    try:
        server.start()
        server.make_delay_ladder()
        yield server
    finally:
        server.shut_down()
        atexit.unregister(server.shut_down)
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def rabbitmq_own() -> Iterator[RabbitServer]:
    """A broker that a test may kill; it must leave it running."""
    with _own_server() as server:
        yield server


@pytest.fixture
def rabbitmq(rabbitmq_own: RabbitServer) -> RabbitServer:
    """The broker that a test may kill, running and ready."""
    rabbitmq_own.ensure_running()
    return rabbitmq_own


@pytest.fixture
def amqp_url(request: pytest.FixtureRequest) -> str:
    """A broker that a test may use but not disturb: the one of GRID_TEST_AMQP_URL, or our own."""
    given = os.environ.get("GRID_TEST_AMQP_URL")
    if given:
        return given
    server: RabbitServer = request.getfixturevalue("rabbitmq_own")
    return server.url
