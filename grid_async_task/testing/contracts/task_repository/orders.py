"""What an operator asks for: cancel, and a retry of what has failed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from grid_async_task.domain.failure import CANCELLED
from grid_async_task.domain.message import CallbackRequest
from grid_async_task.domain.outcome import Failed, RetryLater, Succeeded
from grid_async_task.domain.progress import Progress
from grid_async_task.domain.task import TaskStatus
from grid_async_task.ports.task_repository import CallbackMark, TaskRepository
from grid_async_task.testing.contracts.task_repository.steps import (
    BOOM,
    HTTP,
    LEASE_S,
    ME,
    QUEUE,
    RepositorySteps,
    a_message,
    assert_same,
)


class Orders(RepositorySteps):
    # -- cancel -----------------------------------------------------------------------------------

    def test_a_cancel_marks_a_running_row(self, repository: TaskRepository) -> None:
        self.insert(repository)
        seen = self.seen(repository)
        assert not repository.request_cancel(replace(seen, attempt=2))
        assert not self.seen(repository).cancel_requested
        assert repository.request_cancel(seen)
        row = self.seen(repository)
        assert row.cancel_requested
        assert (row.status, row.attempt, row.owner, row.wake_at) == (seen.status, 1, ME, seen.wake_at)

    def test_a_cancel_marks_no_other_row(self, repository: TaskRepository) -> None:
        running = self.insert(repository)
        assert repository.settle(running, RetryLater(BOOM, 60), None)
        assert not repository.request_cancel(replace(self.seen(repository), status=TaskStatus.RUNNING))
        assert not repository.request_cancel(replace(self.seen(repository), id="another"))
        assert not self.seen(repository).cancel_requested

    # -- an operator's retry ----------------------------------------------------------------------

    def test_an_operators_retry_starts_anew(self, repository: TaskRepository) -> None:
        self.insert(repository)
        self.let_time_pass(LEASE_S + 1)
        claim = self.claim(repository, self.seen(repository), crashed=True)
        assert claim is not None
        assert repository.request_cancel(claim)
        assert repository.settle(claim, RetryLater(BOOM, 0), Progress(50, "half"))
        self.let_time_pass(1)
        assert repository.fail_unrun(self.seen(repository), CANCELLED)
        seen, now = self.read(repository).task, self.read(repository).now
        assert (seen.crash_count, seen.retry_count, seen.cancel_requested) == (1, 1, True)
        assert repository.retry_failed(seen)
        row = self.seen(repository)
        assert_same(row, seen.retried_by_operator(now))
        assert row.attempt == seen.attempt + 1
        assert not repository.retry_failed(seen), "only once"
        assert self.claim(repository, row) is not None

    def test_an_operators_retry_is_refused_while_a_callback_is_due(self, repository: TaskRepository) -> None:
        due = self.finished(repository, a_message(callback=HTTP), Failed(BOOM))
        assert not repository.retry_failed(due)
        taken = repository.take_callback(due, hold_s=90)
        assert taken is not None
        assert not repository.retry_failed(self.seen(repository))
        assert repository.mark_callback(taken, CallbackMark(sent=True))
        assert repository.retry_failed(self.seen(repository))
        assert (self.seen(repository).callback_status, self.seen(repository).callback_attempts) == (None, 0)

    def test_an_operator_retries_only_what_failed(self, repository: TaskRepository) -> None:
        done = self.finished(repository, a_message(), Succeeded({}))
        assert not repository.retry_failed(done)
        assert not repository.retry_failed(replace(done, status=TaskStatus.FAILED))
        failed = self.failed(repository, "task-2")
        assert not repository.retry_failed(replace(failed, attempt=failed.attempt + 1))
        assert self.seen(repository, "task-2") == failed

    def test_an_owed_message_is_cleared(self, repository: TaskRepository) -> None:
        assert repository.retry_failed(self.failed(repository))
        row = self.seen(repository)
        assert row.wake_at is not None
        assert not repository.clear_owed(row.id, row.attempt - 1)
        assert not repository.clear_owed("another", row.attempt)
        assert repository.clear_owed(row.id, row.attempt)
        assert self.seen(repository).wake_at is None
        assert self.claim(repository, self.seen(repository)) is not None

    def test_clearing_what_is_not_pending_any_more_changes_nothing(self, repository: TaskRepository) -> None:
        self.insert(repository)
        before = self.seen(repository)
        assert not repository.clear_owed("task-1", 1)
        assert self.seen(repository) == before

    def test_an_owed_message_that_waits_is_owed_again_long_after_its_time(self, repository: TaskRepository) -> None:
        assert repository.retry_failed(self.failed(repository))
        row = self.seen(repository)
        assert row.wake_at is not None
        for wrong in (
            replace(row, attempt=row.attempt - 1),
            replace(row, id="another"),
            replace(row, wake_at=row.wake_at - timedelta(seconds=1)),
            replace(row, wake_at=None),
        ):
            assert not repository.mark_delayed(wrong)
        self.let_time_pass(1)
        assert self.overdue(repository) == ["task-1"]
        row = self.seen(repository)
        assert repository.mark_delayed(row)
        assert self.seen(repository) == row
        self.let_time_pass(600)
        assert self.overdue(repository) == []
        self.let_time_pass(600)
        assert self.overdue(repository) == ["task-1"]
        assert self.claim(repository, self.seen(repository)) is not None

    @pytest.mark.parametrize("meanwhile", ["claimed", "cancelled", "retried"])
    def test_a_row_that_moved_on_is_not_marked_as_delayed(self, repository: TaskRepository, meanwhile: str) -> None:
        callback = HTTP if meanwhile == "cancelled" else CallbackRequest()
        repository.record_pending([a_message(callback=callback)], [QUEUE])
        seen = replace(self.seen(repository), wake_at=self.read(repository).now)
        if meanwhile == "claimed":
            assert self.claim(repository, self.seen(repository)) is not None
        else:
            assert repository.fail_unrun(self.seen(repository), CANCELLED)
        if meanwhile == "retried":
            assert repository.retry_failed(self.seen(repository))
        row = self.seen(repository)
        assert row.wake_at is not None
        assert not repository.mark_delayed(seen)
        assert not repository.mark_delayed(replace(seen, wake_at=row.wake_at))
        if meanwhile != "retried":
            assert not repository.mark_delayed(row), "it is not pending"
        assert self.seen(repository) == row
        self.let_time_pass(LEASE_S + 1)
        assert [task.id for task in repository.overdue(QUEUE, lost_after_s=0, limit=9)] == ["task-1"]
