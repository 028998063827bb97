"""Checkpoints, cancel, Retry, Discard and Snooze over kill -9, a hand-back and an operator's retry."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from grid_async_task.domain.task import TaskStatus
from tests.resuming import verdict
from tests.resuming.scene import Scene, read_notes, scene_of
from tests.servers.mariadb import MySqlServer
from tests.servers.rabbitmq import RabbitServer
from tests.waiting import eventually
from tests.worker_site import open_site


@pytest.fixture(scope="module")
def scene(
    tmp_path_factory: pytest.TempPathFactory, rabbitmq_own: RabbitServer, mariadb: MySqlServer
) -> Iterator[Scene]:
    """All kills happen side by side, since each takeover takes ten seconds and more."""
    rabbitmq_own.ensure_running()
    mysql_url = mariadb.url(mariadb.new_database())
    seed = random.SystemRandom().randrange(1_000_000)
    directory = tmp_path_factory.mktemp("resuming")
    with scene_of(
        directory, rabbitmq_own.url, mysql_url, copies=1, kills=1, workers=4, seed=seed, timeout_s=100
    ) as scene:
        yield scene


def test_each_kill_costs_one_step_at_most(scene: Scene) -> None:
    verdict.assert_each_kill_costs_one_step_at_most(scene)


def test_a_kill_right_after_a_snooze(scene: Scene) -> None:
    verdict.assert_a_snooze_costs_nothing(scene)


def test_a_kill_right_after_a_retry(scene: Scene) -> None:
    verdict.assert_a_retry_costs_one(scene)


def test_a_kill_right_after_a_discard(scene: Scene) -> None:
    verdict.assert_a_discarded_task_is_not_run_again(scene)


def test_a_kill_right_after_a_cancel(scene: Scene) -> None:
    verdict.assert_a_cancel_outlives_the_worker(scene)


def test_a_checkpoint_outlives_retry_hand_back_and_operators_retry(
    tmp_path: Path, amqp_url: str, mysql_url: str
) -> None:
    failing = "tests.resuming.handlers:FailingBetweenSteps"
    with open_site(tmp_path, amqp_url, mysql_url) as site:

        def checkpoints() -> list[tuple[int, int | None]]:
            notes = read_notes(site.diary()).get("t", [])
            return [(note.attempt, note.checkpoint) for note in notes if note.what == "begin"]

        whole = tmp_path / "may be finished"
        site.publish(data={"kind": "steps", "steps": 40, "last_step_after": str(whole)}, max_retry_count=1)
        first = site.worker(failing, retry_delay=1)
        site.wait_for(TaskStatus.FAILED)
        assert checkpoints() == [(1, None), (2, 3)]  # kept over a retry
        first.terminate()
        assert first.ended() == 0

        assert site.client.retry_task("t")
        second = site.worker("tests.resuming.handlers:Resuming", shutdown_grace=0.1)
        eventually(lambda: len(read_notes(site.diary())["t"]) > 12, what="some steps more")
        second.terminate()
        assert second.ended() == 0
        handed_back = site.task()
        assert checkpoints() == [(1, None), (2, 3), (4, 6)]  # kept over an operator's retry
        assert (handed_back.status, handed_back.checkpoint is None) == (TaskStatus.PENDING, False)

        whole.touch()
        site.worker("tests.resuming.handlers:Resuming")
        task = site.wait_for(TaskStatus.SUCCESS)
        assert checkpoints()[3:] == [(5, handed_back.checkpoint)]  # kept over a hand-back
        assert (task.retry_count, task.crash_count, task.checkpoint) == (0, 0, 40)
