"""A short campaign, with the same harm in another order each time.

Another seed: `GRID_CAMPAIGN_SEED=7 pytest tests/fault/test_campaign.py`; the long campaign: `make torture`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.campaign.campaign import Plan, run_campaign, seed_of_the_day
from tests.servers.mariadb import OwnMariaDb
from tests.servers.rabbitmq import RabbitServer

SHORT = Plan(
    seconds=0,  # one round
    workers=3,
    head_start=30,
    tasks_per_s=12,
    # what takes longest comes first
    opening=("pause", "kill", "cut_at_commit", "cut_database", "broker"),
    deck=("kill", "blink", "cut_broker", "terminate", "database"),
    gap_s=(0.3, 1.0),
    with_late_tickets=False,
)


@pytest.mark.timeout(700)
def test_a_short_campaign(tmp_path: Path, rabbitmq: RabbitServer, mariadb_own: OwnMariaDb) -> None:
    report = run_campaign(SHORT, seed_of_the_day(), tmp_path, rabbitmq, mariadb_own)
    print(f"\n{report}")
    broken = report.broken
    assert not broken, f"{report}\n\n{broken}"
