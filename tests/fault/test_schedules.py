"""Every promise of SPEC section 4, under every fault at every step, and under samples of two faults.

All pairs of two crashes, and many more samples, are in tests/torture/test_crash_schedules.py. A schedule that
breaks a promise says how to see it again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.schedules.__main__ import main
from tests.schedules.campaign import BrokenPromise, Schedule, checked, sample, schedules_of, without_logs
from tests.schedules.faults import FAULTS
from tests.schedules.scenarios import SCENARIOS
from tests.schedules.wrong import WRONG


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with without_logs():
        yield


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_fault_at_every_step(scenario: str) -> None:
    for schedule in schedules_of(scenario, tuple(FAULTS)):
        checked(schedule)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_two_faults(scenario: str) -> None:
    for schedule in sample(scenario, firsts=8, each=8):
        checked(schedule)


@pytest.mark.parametrize("name", WRONG)
def test_a_worker_with_a_rule_left_out_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = WRONG[name]
    wrong.leave_out(monkeypatch)
    with pytest.raises(BrokenPromise):
        for schedule in schedules_of(wrong.scenario, wrong.first, wrong.second, wrong.at):
            checked(schedule)


def test_a_task_that_takes_its_workers_down_fails_as_worker_lost() -> None:
    history = checked(Schedule("worker lost"))
    assert [notice.facts["error type"] for notice in history.notifier.notices] == ["WorkerLost"]
    assert [json.loads(callback.body)["result"]["error_type"] for callback in history.receiver.callbacks] == [
        "WorkerLost"
    ]


def test_workers_that_die_between_a_callback_s_take_and_its_send_use_up_no_try() -> None:
    """Two die so, and the receiver refuses twice: four takes, and only two of the four tries that there are."""
    history = checked(Schedule.parse("callback fails at first: crash-after@5, crash-before@19"))
    assert [step.split()[1] for step in history.steps].count("repository.take_callback") == 5
    assert len(history.receiver.callbacks) == 1


def test_a_schedule_can_be_written_down_and_read_again() -> None:
    schedule = Schedule("operator's retry", ((5, "crash-after"), (17, "pause")))
    assert str(schedule) == "operator's retry: crash-after@5, pause@17"
    assert Schedule.parse(str(schedule)) == schedule


def test_a_broken_schedule_says_how_to_see_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    WRONG["ack_before_commit"].leave_out(monkeypatch)
    with pytest.raises(BrokenPromise, match=r"python -m tests\.schedules \"success: crash-before@3\""):
        checked(Schedule.parse("success: crash-before@3"))
    monkeypatch.undo()
    monkeypatch.setattr("sys.argv", ["schedules", "--wrong", "ack_before_commit", "success: crash-before@3"])
    assert main() == 1
    assert "BROKEN: no message for ['t']" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["schedules", "success: crash-before@3"])
    assert main() == 0
