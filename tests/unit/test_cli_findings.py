"""What `check` makes of what servers say, where no server at hand says it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from grid_async_task.adapters.rabbitmq.queue_arguments import _difference
from grid_async_task.adapters.sql.inspection import _clock, _version
from grid_async_task.ports import Level

NOW = datetime(2024, 1, 15, 10, 30, tzinfo=timezone.utc)


@pytest.mark.parametrize(("drift_s", "level"), [(0, Level.OK), (4, Level.OK), (-4, Level.OK), (60, Level.WARNING)])
def test_clocks_may_differ_a_little(drift_s: float, level: Level) -> None:
    theirs = NOW + timedelta(seconds=drift_s)
    assert _clock(theirs, NOW, NOW).level is level


def test_a_clock_that_lags_is_off_too() -> None:
    finding = _clock(NOW - timedelta(minutes=5), NOW, NOW)
    assert finding.level is Level.WARNING
    assert "300 s" in finding.text


@pytest.mark.parametrize(
    ("version", "level"),
    [
        ("8.0.36", Level.OK),
        ("8.4.2-log", Level.OK),
        ("5.7.44", Level.ERROR),
        ("10.11.6-MariaDB-0+deb12u1", Level.OK),
        ("10.6.0-MariaDB", Level.OK),
        ("10.5.23-MariaDB", Level.ERROR),
        ("11.4.2-MariaDB", Level.OK),
    ],
)
def test_servers_that_are_too_old(version: str, level: Level) -> None:
    assert _version(version).level is level


@pytest.mark.parametrize(
    ("text", "learned"),
    [
        (
            "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'a 'b'' in vhost '/':"
            " received none but current is the value '10' of type 'signedint'",
            ("x-max-length", 10),
        ),
        (
            "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'q' in vhost '/':"
            " received none but current is the value 'quorum' of type 'longstr'",
            ("x-queue-type", "quorum"),
        ),
        (
            "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in vhost '/':"
            " received 'true' but current is 'false'",
            ("durable", False),
        ),
        ("PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'aaa", None),
        ("something else", None),
    ],
)
def test_a_brokers_refusal_tells_how_a_queue_was_declared(text: str, learned: object) -> None:
    assert _difference(text) == learned
