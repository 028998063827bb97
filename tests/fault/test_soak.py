"""A short soak, for gross leaks; the long one of 20,000 tasks is in tests/torture."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.soak import growth, run_soak, steady_growth

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="reads /proc")


def test_nothing_grows_over_some_hundred_tasks(tmp_path: Path, amqp_url: str, mysql_url: str) -> None:
    soak = run_soak(
        tmp_path,
        amqp_url,
        mysql_url,
        tasks=600,
        sample_every=30,
        handler="tests.soak.handler:Soaking",
        timeout_s=200,
    )
    print(f"\n{soak}")
    # an object a task would be 30 of them
    assert soak.steady_growth("objects") < 10, soak
    assert soak.growth("files") <= 2, soak
    assert soak.growth("threads") <= 1, soak


def test_a_leak_shows_in_the_figures() -> None:
    steady = [100, 140, *[150] * 10, *[160] * 2, *[150] * 8]
    assert growth(steady) == 0
    assert steady_growth(steady) == 0
    leaking = [value + number for number, value in enumerate(steady)]
    assert growth(leaking) > 10
    assert steady_growth(leaking) == 1
