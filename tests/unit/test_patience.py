from __future__ import annotations

import random
import threading
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from grid_async_task.adapters.memory import FakeClock
from grid_async_task.application.lifecycle import Leaving
from grid_async_task.application.patience import Patience
from grid_async_task.ports import RepositoryUnavailable


class Server:
    """Away for so many questions, then there."""

    def __init__(self, away: int) -> None:
        self.away = away
        self.asked_at: list[float] = []
        self.clock = FakeClock()
        self.patience = Patience("database", (RepositoryUnavailable,), self.clock, random.Random(0))
        self.until = threading.Event()

    def ask(self) -> str:
        self.asked_at.append(self.clock.monotonic())
        if len(self.asked_at) <= self.away:
            raise RepositoryUnavailable("connection refused")
        return "answer"


def test_it_asks_until_it_is_answered_with_growing_pauses_of_at_most_three_seconds() -> None:
    server = Server(away=50)
    assert server.patience.until_answered(server.ask, until=server.until) == "answer"
    pauses = [after - before for before, after in pairwise(server.asked_at)]
    assert pauses[0] <= 0.1
    assert all(pause <= 3 for pause in pauses)
    assert sum(pauses[-10:]) >= 15
    assert len(set(pauses)) == len(pauses), "no jitter"


def test_the_log_has_one_line_when_the_server_goes_and_one_when_it_is_back() -> None:
    server = Server(away=50)
    with capture_logs() as lines:
        server.patience.until_answered(server.ask, until=server.until)
        server.patience.until_answered(server.ask, until=server.until)
    assert [line["event"] for line in lines] == [
        "database unavailable, trying again until it answers",
        "database available again",
    ]


def test_it_gives_up_when_the_worker_leaves() -> None:
    server = Server(away=50)
    server.until.set()
    with pytest.raises(Leaving, match="connection refused"):
        server.patience.until_answered(server.ask, until=server.until)
    assert len(server.asked_at) == 1


def test_what_is_to_be_done_meanwhile_is_done_once() -> None:
    server = Server(away=5)
    calls: list[None] = []
    server.patience.until_answered(server.ask, until=server.until, meanwhile=lambda: calls.append(None))
    assert len(calls) == 1


def test_other_errors_pass() -> None:
    server = Server(away=0)
    with pytest.raises(ZeroDivisionError):
        server.patience.until_answered(lambda: 1 // 0, until=server.until)
