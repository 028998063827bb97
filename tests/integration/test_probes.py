"""Probes over HTTP, and the command that asks them. The worker behind them is in memory, the sockets are real."""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from grid_async_task import ConfigurationError, Settings, TaskHandler, bootstrap
from grid_async_task.adapters.memory import MemoryBroker, MemoryTaskRepository
from grid_async_task.adapters.probes import ProbeServer
from grid_async_task.adapters.process.clock import SystemClock
from grid_async_task.cli import health as command
from grid_async_task.cli.program import run
from tests.servers.http_receiver import Answer, HttpReceiver
from tests.servers.ports import free_port
from tests.waiting import eventually

WELL = {"loop": None}
ILL = {"loop": None, "handler": "it hangs"}


def get(port: int, path: str, host: str = "127.0.0.1") -> tuple[int, Any]:
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


@contextmanager
def serving(answer: dict[str, str | None]) -> Iterator[int]:
    port = free_port()
    with ProbeServer(port, {"/live": lambda: answer}):
        yield port


def test_the_status_says_it_and_the_body_why() -> None:
    with serving(WELL) as port:
        assert get(port, "/live") == (200, {"ok": True, "checks": {"loop": "ok"}})
        assert get(port, "/live?verbose=1")[0] == 200
        assert get(port, "/nowhere") == (404, {"paths": ["/live"]})
    with serving(ILL) as port:
        assert get(port, "/live") == (503, {"ok": False, "checks": {"loop": "ok", "handler": "it hangs"}})


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_it_answers_on_ipv6_too() -> None:
    with serving(WELL) as port:
        assert get(port, "/live", host="::1")[0] == 200


def test_a_client_that_says_nothing_holds_up_nobody() -> None:
    with serving(WELL) as port, socket.create_connection(("127.0.0.1", port)):
        assert get(port, "/live")[0] == 200


def test_the_port_is_free_again_afterwards() -> None:
    port = free_port()
    for _ in range(2):
        with ProbeServer(port, {"/live": lambda: WELL}):
            assert get(port, "/live")[0] == 200


class Idle(TaskHandler):
    pass


@contextmanager
def worker(port: int | None) -> Iterator[Any]:
    clock = SystemClock()
    settings = Settings(amqp_url="memory://", queue="q", mysql_url="memory://", health_port=port)
    broker = MemoryBroker(clock)
    made = bootstrap.create_worker(
        Idle(),
        settings=settings,
        source=broker.source("q"),
        publisher=broker.publisher(),
        repository=MemoryTaskRepository(clock),
        callback_senders={},
    )
    thread = threading.Thread(target=made.run)
    thread.start()
    try:
        yield made
    finally:
        made.stop()
        thread.join(30)
    assert not thread.is_alive()


def test_a_worker_answers_as_long_as_it_runs() -> None:
    port = free_port()
    with worker(port):
        eventually(lambda: _answers(port), what="the worker answers")
        assert {get(port, path)[0] for path in ("/live", "/started")} == {200}
        eventually(lambda: get(port, "/ready")[0] == 200, what="the worker is ready")
    assert not _answers(port)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_port_that_is_taken_is_a_matter_of_configuration() -> None:
    with serving(WELL) as port:
        settings = Settings(amqp_url="memory://", queue="q", mysql_url="memory://", health_port=port)
        with pytest.raises(ConfigurationError, match=f"HEALTH_PORT: can't listen on port {port}"):
            bootstrap.create_worker(Idle(), settings=settings).run()


# -- the command --------------------------------------------------------------------------------------------


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs `health` against a port: its exit code, and what it printed."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("GRID_ASYNC_TASK_")]:
        monkeypatch.delenv(name)

    def ask(port: int | None, *arguments: str) -> tuple[int, str]:
        if port is not None:
            monkeypatch.setenv("GRID_ASYNC_TASK_HEALTH_PORT", str(port))
        capsys.readouterr()
        code = run(["health", *arguments])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return ask


def test_the_command_exits_as_the_probe_says(ask: Any) -> None:
    with serving(WELL) as port:
        assert ask(port) == ask(port, "live") == (0, "ok\n")
    with serving(ILL) as port:
        assert ask(port, "live") == (1, "handler: it hangs\n")
        code, printed = ask(port, "--json")
        assert (code, json.loads(printed)) == (1, {"ok": False, "checks": {"loop": "ok", "handler": "it hangs"}})


def test_the_command_says_why_there_is_no_answer(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "ANSWER_TIMEOUT_S", 0.3)
    code, printed = ask(free_port())
    assert code == 1
    assert "nobody answers" in printed
    with socket.create_server(("127.0.0.1", 0)) as silent:
        code, printed = ask(silent.getsockname()[1])
    assert code == 1
    assert "no answer within 0.3 s" in printed
    monkeypatch.setattr(command, "ANSWER_TIMEOUT_S", 20)
    with HttpReceiver() as something_else:
        something_else.answer_with([Answer(body=b"hello"), Answer(body=b"[]")])
        for _ in range(2):
            code, printed = ask(something_else.port)
            assert code == 1
            assert "is no worker" in printed


def test_the_command_without_a_port_says_what_to_set(ask: Any) -> None:
    code, printed = ask(None)
    assert code == 2
    assert "GRID_ASYNC_TASK_HEALTH_PORT" in printed
