"""The signs of life of a worker's parts, by a fake clock."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from grid_async_task.adapters.memory import FakeClock, MemoryBroker, MemoryTaskRepository
from grid_async_task.application import vital_signs
from grid_async_task.application.group_leases import GroupLeases
from grid_async_task.application.health import Limits
from grid_async_task.application.heartbeat import Heartbeat
from grid_async_task.application.idle import IdleTime
from grid_async_task.application.lifecycle import Lifecycle
from grid_async_task.application.patience import Patience
from grid_async_task.application.vital_signs import VitalSigns
from grid_async_task.ports import BrokerUnavailable, RepositoryUnavailable


class Parts:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.lifecycle = Lifecycle()
        self.database = Patience("database", (RepositoryUnavailable,), self.clock, random.Random(1))
        self.idle = IdleTime(self.clock, timeout_s=0, is_connected=lambda: True, is_busy=lambda: False)
        self.heartbeat = Heartbeat(
            MemoryTaskRepository(self.clock),
            self.clock,
            self.lifecycle,
            GroupLeases(MemoryTaskRepository(self.clock), self.clock, lease_s=60),
            lease_s=60,
            progress_interval_s=10,
            on_long_run=lambda: None,
        )
        broker = MemoryBroker(self.clock)
        self.source: Any = broker.source("q")
        self.signs = VitalSigns(
            self.source,
            broker.publisher(),
            self.heartbeat,
            self.idle,
            self.database,
            self.lifecycle,
            self.clock,
            Limits(lease_s=60, time_limit_s=0, grace_s=25),
        )


def test_the_loop_is_silent_only_between_its_turns_and_with_nothing_in_hand() -> None:
    parts = Parts()
    parts.clock.advance(100)  # waiting for the database before the first turn
    assert parts.signs.take().loop_silent_s == 0
    parts.idle.is_over()
    parts.clock.advance(5)
    assert parts.signs.take().loop_silent_s == 5
    with parts.idle.standing_still():
        parts.clock.advance(3600)
        assert parts.signs.take().loop_silent_s == 0
        assert parts.signs.take().is_served
    parts.clock.advance(2)
    assert parts.signs.take().loop_silent_s == 2


def test_a_heartbeat_that_ends_at_once_is_seen_all_the_same() -> None:
    parts = Parts()
    assert parts.signs.take().heartbeat_silent_s == 0
    parts.lifecycle.leaving.set()
    parts.heartbeat.run()
    parts.clock.advance(7)
    assert parts.signs.take().heartbeat_silent_s == 7


def test_an_outage_of_the_database_is_known_while_it_lasts() -> None:
    parts = Parts()
    seen: list[bool] = []

    def ask() -> str:
        seen.append(parts.signs.take().database_answers)
        if len(seen) < 3:
            raise RepositoryUnavailable("away")
        return "answer"

    parts.database.until_answered(ask, until=parts.lifecycle.leaving)
    assert seen == [True, False, False]
    assert parts.signs.take().database_answers


@pytest.mark.parametrize(
    ("said", "looks"),
    [
        ([True, True], 2),
        ([True, True, False], 0),
        ([True, True, BrokerUnavailable("hangs")], 0),
        ([False, True], 1),
    ],
)
def test_the_broker_has_to_say_so_in_a_row(said: list[Any], looks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Parts()
    monkeypatch.setattr(parts.source, "is_deaf", _saying(said, parts.lifecycle.stopping.set), raising=False)
    parts.signs.watch()
    assert parts.signs.take().deaf_looks == looks
    assert parts.clock.monotonic() >= len(said) * vital_signs.LOOK_EVERY_S


def _saying(answers: list[Any], at_the_end: Callable[[], None]) -> Callable[[], bool]:
    left = list(answers)

    def say() -> bool:
        answer = left.pop(0)
        if not left:
            at_the_end()
        if isinstance(answer, Exception):
            raise answer
        return bool(answer)

    return say
