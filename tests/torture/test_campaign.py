"""The long campaign. `GRID_TORTURE_MINUTES` says how long (10); `GRID_CAMPAIGN_SEED` does the same deeds again."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.campaign.campaign import Plan, run_campaign, seed_of_the_day
from tests.servers.mariadb import OwnMariaDb
from tests.servers.rabbitmq import RabbitServer

MINUTES = float(os.environ.get("GRID_TORTURE_MINUTES") or 10)
LONG = Plan(
    seconds=MINUTES * 60,
    workers=4,
    head_start=100,
    tasks_per_s=4,
    opening=(),
    deck=(
        *["kill"] * 8,
        *["pause"] * 3,
        *["blink"] * 3,
        *["terminate"] * 4,
        *["cut_broker", "cut_database", "hang_broker", "hang_database"],
        *["cut_at_commit"] * 3,
        *["broker", "database"],
    ),
    gap_s=(0.3, 3.0),
    with_late_tickets=True,
)

#: tasks of microseconds, which share their commits
GROUPS = replace(
    LONG,
    seconds=MINUTES * 30,
    workers=2,
    head_start=1000,
    tasks_per_s=120,
    prefetch=(50,),
    kinds={"fast": 990, "slow": 4, "retrying": 3, "failing": 3},
    without_callback=97,
)


@pytest.mark.timeout(MINUTES * 60 + 900)
def test_the_long_campaign_of_short_tasks(tmp_path: Path, rabbitmq: RabbitServer, mariadb_own: OwnMariaDb) -> None:
    report = run_campaign(GROUPS, seed_of_the_day(), tmp_path, rabbitmq, mariadb_own)
    print(f"\n{report}")
    broken = report.broken
    assert not broken, f"{report}\n\n{broken}"


@pytest.mark.timeout(MINUTES * 60 + 900)
def test_the_long_campaign(tmp_path: Path, rabbitmq: RabbitServer, mariadb_own: OwnMariaDb) -> None:
    report = run_campaign(LONG, seed_of_the_day(), tmp_path, rabbitmq, mariadb_own)
    print(f"\n{report}")
    broken = report.broken
    assert not broken, f"{report}\n\n{broken}"
