"""20,000 tasks through one worker, or as many as `GRID_SOAK_TASKS` says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.soak.soak import run_soak

TASKS = int(os.environ.get("GRID_SOAK_TASKS") or 20_000)
TIMEOUT_S = 300 + TASKS * 0.1


pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="reads /proc")


@pytest.mark.timeout(TIMEOUT_S + 60)
def test_nothing_grows(tmp_path: Path, amqp_url: str, mysql_url: str) -> None:
    soak = run_soak(
        tmp_path,
        amqp_url,
        mysql_url,
        tasks=TASKS,
        sample_every=TASKS // 20,
        handler="tests.soak.handler:Soaking",
        timeout_s=TIMEOUT_S,
    )
    print(f"\n{soak}")
    # far less than one object, or 200 bytes, a task
    assert soak.growth("objects") < TASKS / 100, soak
    assert soak.growth("rss_kb") * 1024 < TASKS * 200, soak
    assert soak.growth("files") <= 2, soak
    assert soak.growth("threads") <= 1, soak


def test_a_leak_is_seen(tmp_path: Path, amqp_url: str, mysql_url: str) -> None:
    """A handler that keeps a file and three objects of each task."""
    soak = run_soak(
        tmp_path, amqp_url, mysql_url, tasks=300, sample_every=15, handler="tests.soak.handler:Leaking", timeout_s=100
    )
    print(f"\n{soak}")
    assert soak.steady_growth("objects") > 15
    assert soak.growth("files") > 100
