"""What SPEC section 10 promises of tasks whose workers were killed.

A kill may also hit a bystander: the task that a worker has taken up just before. So what is counted is the
attempts that are there, and that each but the last one of a task was ended by a kill.
"""

from __future__ import annotations

import itertools

from grid_async_task import Task
from grid_async_task.domain.task import TaskStatus
from tests.resuming.handlers import DELAY_S
from tests.resuming.scene import STEPS, Note, Scene

#: the handler notes that it raises a moment before it does
TOLERANCE_S = 0.05


def assert_each_kill_costs_one_step_at_most(scene: Scene) -> None:
    for task_id, row, notes in scene.of_kind("steps"):
        begins = _begins(notes)
        assert len(begins) > scene.kills[task_id], notes
        for before, begin in itertools.pairwise(begins):
            assert before.attempt < begin.attempt
            assert before.pid in scene.killed
            last_begun = _steps(notes, before.attempt)[-1:] or [before.checkpoint or 0]
            assert (begin.checkpoint or 0) in (last_begun[0] - 1, last_begun[0]), notes
            assert _steps(notes, begin.attempt)[:1] in ([(begin.checkpoint or 0) + 1], []), notes
        assert len([note for note in notes if note.what == "step"]) <= STEPS + len(begins) - 1
        assert (row.status, row.retry_count, row.attempt) == (TaskStatus.SUCCESS, 0, 1 + row.crash_count)
        assert row.result == {"attempt": row.attempt, "steps": STEPS}


def assert_a_snooze_costs_nothing(scene: Scene) -> None:
    for _, row, notes in scene.of_kind("snooze"):
        assert (row.status, row.retry_count) == (TaskStatus.SUCCESS, 0)
        _assert_delay_kept(row, notes)


def assert_a_retry_costs_one(scene: Scene) -> None:
    for _, row, notes in scene.of_kind("retry"):
        # either the outcome of the first attempt was committed before the kill, or it crashed
        assert (row.status, row.attempt) == (TaskStatus.SUCCESS, 1 + row.retry_count + row.crash_count)
        assert row.retry_count <= 1
        _assert_delay_kept(row, notes)


def assert_a_discarded_task_is_not_run_again(scene: Scene) -> None:
    for _, row, notes in scene.of_kind("discard"):
        assert row.failure is not None
        assert row.failure.error_type == "Discard"
        assert len(_begins(notes)) <= row.attempt == 1 + row.crash_count


def assert_a_cancel_outlives_the_worker(scene: Scene) -> None:
    for task_id, row, notes in scene.of_kind("cancelled"):
        assert row.failure is not None
        assert row.failure.error_type == "TaskCancelled"
        # it failed unrun, under an attempt number of its own
        assert _begins(notes)[-1].attempt == row.attempt - 1
        assert scene.kills[task_id] == 1


def _begins(notes: list[Note]) -> list[Note]:
    return [note for note in notes if note.what == "begin"]


def _steps(notes: list[Note], attempt: int) -> list[int]:
    return [note.step for note in notes if note.what == "step" and note.attempt == attempt]


def _assert_delay_kept(row: Task, notes: list[Note]) -> None:
    raised = [note for note in notes if note.what == "raise"]
    was_committed = row.attempt - 1 - row.crash_count == 1
    if raised and was_committed:
        following = next(note for note in _begins(notes) if note.attempt > 1)
        assert following.at - raised[0].at >= DELAY_S - TOLERANCE_S, notes
