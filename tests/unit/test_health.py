"""What a probe is told, by signs of life: what fails liveness, and what must not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from grid_async_task.application.health import SILENT_AFTER_S, Checks, Limits, Vitals, live, ready

LIMITS = Limits(lease_s=60, time_limit_s=600, grace_s=25)
WELL = Vitals(
    is_stopping=False,
    loop_silent_s=0.5,
    heartbeat_silent_s=0.5,
    source_silent_s=1,
    publisher_silent_s=0,
    is_connected=True,
    is_served=True,
    deaf_looks=0,
    database_answers=True,
    running_s=None,
    lease_age_s=0,
)


def wrong(checks: Checks) -> set[str]:
    return {name for name, problem in checks.items() if problem}


def test_a_worker_that_is_well_is_live_and_ready() -> None:
    assert wrong(live(WELL, LIMITS)) == wrong(ready(WELL, LIMITS)) == set()


@pytest.mark.parametrize("sign", [{"deaf_looks": 2}, {"running_s": 626}, {"heartbeat_silent_s": SILENT_AFTER_S + 1}])
def test_only_its_loop_may_stand_still_while_a_worker_stops(sign: dict[str, Any]) -> None:
    stopping = replace(WELL, is_stopping=True, loop_silent_s=3600)
    assert wrong(live(stopping, LIMITS)) == set()
    assert wrong(live(replace(stopping, **sign), LIMITS)) != set()


@pytest.mark.parametrize(
    ("sign", "part"),
    [
        ({"loop_silent_s": SILENT_AFTER_S + 1}, "loop"),
        ({"heartbeat_silent_s": SILENT_AFTER_S + 1}, "heartbeat"),
        ({"source_silent_s": SILENT_AFTER_S + 1}, "source"),
        ({"publisher_silent_s": SILENT_AFTER_S + 1}, "publisher"),
        ({"deaf_looks": 2}, "subscription"),
        ({"running_s": 500, "lease_age_s": 60 + SILENT_AFTER_S + 1}, "lease"),
        ({"running_s": 626}, "handler"),
    ],
)
def test_what_a_restart_cures_fails_liveness_and_readiness(sign: dict[str, Any], part: str) -> None:
    vitals = replace(WELL, **sign)
    assert wrong(live(vitals, LIMITS)) == wrong(ready(vitals, LIMITS)) == {part}


@pytest.mark.parametrize(
    ("sign", "part"),
    [
        ({"is_connected": False, "is_served": False}, "broker"),
        ({"is_served": False}, "broker"),
        ({"database_answers": False}, "database"),
        # an outage longer than the lease: nobody can renew it, and the task goes on
        ({"database_answers": False, "running_s": 500, "lease_age_s": 400}, "database"),
        ({"is_stopping": True, "loop_silent_s": 3600}, "stop"),
    ],
)
def test_what_a_restart_does_not_cure_fails_readiness_only(sign: dict[str, Any], part: str) -> None:
    vitals = replace(WELL, **sign)
    assert wrong(live(vitals, LIMITS)) == set()
    assert wrong(ready(vitals, LIMITS)) == {part}


@pytest.mark.parametrize(
    ("sign", "limits"),
    [
        ({"deaf_looks": 1}, LIMITS),
        ({"running_s": 624}, LIMITS),
        ({"running_s": 100_000}, replace(LIMITS, time_limit_s=0)),
        ({"lease_age_s": 100_000}, LIMITS),
    ],
)
def test_what_is_no_trouble_at_all(sign: dict[str, Any], limits: Limits) -> None:
    assert wrong(ready(replace(WELL, **sign), limits)) == set()


def test_an_answer_names_seconds_and_the_cure() -> None:
    problem = live(replace(WELL, running_s=700), LIMITS)["handler"]
    assert problem is not None
    assert "100 s past TASK_TIMEOUT" in problem
    assert "ISOLATION" in problem
