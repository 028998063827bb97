"""Six times as many tasks as in tests/fault/test_checkpoints.py, each with more kills."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.resuming import verdict
from tests.resuming.scene import STEPS, scene_of


@pytest.mark.timeout(900)
def test_many_tasks_with_many_kills(tmp_path: Path, amqp_url: str, mysql_url: str) -> None:
    seed = random.SystemRandom().randrange(1_000_000)
    print(f"\nseed {seed}")
    with scene_of(tmp_path, amqp_url, mysql_url, copies=6, kills=3, workers=5, seed=seed, timeout_s=800) as scene:
        verdict.assert_each_kill_costs_one_step_at_most(scene)
        verdict.assert_a_snooze_costs_nothing(scene)
        verdict.assert_a_retry_costs_one(scene)
        verdict.assert_a_discarded_task_is_not_run_again(scene)
        verdict.assert_a_cancel_outlives_the_worker(scene)
        steps = [note for _, _, notes in scene.of_kind("steps") for note in notes if note.what == "step"]
        print(f"{sum(scene.kills.values())} kills from outside, {len(steps)} steps for {6 * STEPS}")
