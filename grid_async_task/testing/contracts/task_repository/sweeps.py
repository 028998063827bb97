"""What the sweep finds, and how it is kept from finding it again."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from grid_async_task.domain.outcome import Failed, HandedBack, RetryLater, Succeeded
from grid_async_task.domain.task import Task, TaskStatus
from grid_async_task.ports.task_repository import CallbackMark, TaskRepository
from grid_async_task.testing.contracts.task_repository.steps import (
    BOOM,
    HTTP,
    LEASE_S,
    QUEUE,
    TOLERANCE,
    RepositorySteps,
    a_message,
    assert_same,
    at_once,
)


class Sweeps(RepositorySteps):
    def test_one_sweeper_a_queue_and_period(self, repository: TaskRepository) -> None:
        assert repository.win_sweep(QUEUE, 30)
        assert not repository.win_sweep(QUEUE, 30)
        assert repository.win_sweep("other", 30)
        self.let_time_pass(29)
        assert not repository.win_sweep(QUEUE, 30)
        self.let_time_pass(2)
        assert repository.win_sweep(QUEUE, 30)
        assert not repository.win_sweep(QUEUE, 30)

    def test_of_many_who_want_to_sweep_at_once_one_wins(self, repository: TaskRepository) -> None:
        assert len(at_once(lambda _: repository.win_sweep(QUEUE, 30) or None)) == 1
        self.let_time_pass(31)
        assert len(at_once(lambda _: repository.win_sweep(QUEUE, 30) or None)) == 1

    def test_owed_messages_and_callbacks_are_overdue_at_once(self, repository: TaskRepository) -> None:
        assert repository.retry_failed(self.failed(repository, "owed"))
        self.let_time_pass(1)
        self.finished(repository, a_message("callback", callback=HTTP), Failed(BOOM))
        self.let_time_pass(1)
        assert self.overdue(repository) == ["owed", "callback"]
        assert self.overdue(repository, limit=1) == ["owed"]
        assert repository.overdue("other", lost_after_s=0, limit=9) == []

    def test_running_and_retrying_rows_are_overdue_when_they_are_long_past_due(
        self, repository: TaskRepository
    ) -> None:
        self.insert(repository, a_message("running"))
        self.finished(repository, a_message("retrying"), RetryLater(BOOM, LEASE_S + 10))
        self.let_time_pass(LEASE_S + 890)
        assert self.overdue(repository) == []
        self.let_time_pass(15)
        assert self.overdue(repository) == ["running"]
        self.let_time_pass(10)
        assert self.overdue(repository) == ["running", "retrying"]

    def test_nobody_needs_to_look_at_the_rest(self, repository: TaskRepository) -> None:
        repository.record_pending([a_message("recorded")], [QUEUE])
        self.finished(repository, a_message("done"), Succeeded({}))
        self.finished(repository, a_message("back"), HandedBack())
        held = self.finished(repository, a_message("held", callback=HTTP), Succeeded({}))
        assert repository.take_callback(held, hold_s=90_000) is not None
        self.let_time_pass(80_000)
        assert self.overdue(repository) == []

    def test_a_swept_row_is_left_alone_twice_as_long_each_time(self, repository: TaskRepository) -> None:
        self.due(repository)
        wake_at = self.seen(repository).wake_at
        passed = 0
        for count, minutes in enumerate([5, 10, 20, 40, 80, 160, 320, 360, 360]):
            row = self.seen(repository)
            assert row.sweep_count == count
            assert self.overdue(repository) == ["task-1"]
            assert repository.mark_swept(row)
            assert not repository.mark_swept(row), "another has marked it"
            self.let_time_pass(minutes * 60 - 15)
            assert self.overdue(repository) == []
            self.let_time_pass(30)
            passed += minutes * 60 + 15
        assert wake_at is not None
        row, now = self.read(repository).task, self.read(repository).now
        assert row.wake_at is not None
        assert abs((now - row.wake_at) - timedelta(seconds=passed)) < TOLERANCE, "wake_at is never touched"

    def test_a_row_that_moved_on_is_not_marked(self, repository: TaskRepository) -> None:
        due = self.due(repository)
        assert not repository.mark_swept(replace(due, attempt=2))
        assert not repository.mark_swept(replace(due, status=TaskStatus.FAILED))
        assert not repository.mark_swept(replace(due, sweep_count=1))
        assert self.overdue(repository) == ["task-1"]

    def test_a_row_that_moves_on_starts_its_sweeps_anew(self, repository: TaskRepository) -> None:
        """Each step that answers a ticket forgets the marks of the tickets before it."""

        def swept() -> Task:
            assert repository.mark_swept(self.seen(repository))
            assert self.seen(repository).sweep_count == 1
            return self.seen(repository)

        self.insert(repository, a_message(callback=HTTP))
        self.let_time_pass(LEASE_S + 1)
        claim = self.claim(repository, swept(), crashed=True)
        assert claim is not None
        assert claim.sweep_count == self.seen(repository).sweep_count == 0
        swept()
        assert repository.settle(claim, RetryLater(BOOM, 0), None)
        assert self.seen(repository).sweep_count == 0
        self.let_time_pass(1)
        assert repository.fail_unrun(swept(), BOOM)
        assert self.seen(repository).sweep_count == 0
        self.let_time_pass(1)
        taken = repository.take_callback(swept(), hold_s=1)
        assert taken is not None
        assert taken.sweep_count == self.seen(repository).sweep_count == 0
        assert repository.mark_callback(taken, CallbackMark(sent=True))
        assert repository.retry_failed(swept())
        assert self.seen(repository).sweep_count == 0
        self.let_time_pass(1)
        assert self.overdue(repository) == ["task-1"]

    def test_a_delayed_task_is_left_alone_until_long_after_its_time(self, repository: TaskRepository) -> None:
        message = a_message(task_type="pdf", data={"a": 1}, callback=HTTP)
        repository.record_delayed(message, QUEUE, 3600)
        row, now = self.read(repository).task, self.read(repository).now
        assert_same(row, Task.pending(message, QUEUE, now, now + timedelta(seconds=3600)))
        repository.record_delayed(a_message(data={"b": 2}), "other", 60)
        assert_same(self.seen(repository), row)
        self.let_time_pass(3600 + 600)
        assert self.overdue(repository) == []
        self.let_time_pass(600)
        assert self.overdue(repository) == ["task-1"]
        assert repository.clear_owed("task-1", 0)
        assert self.claim(repository, self.seen(repository)) is not None
