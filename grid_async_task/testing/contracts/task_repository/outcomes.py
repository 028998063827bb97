"""How an attempt ends, and what it leaves to the next one."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from grid_async_task.domain.failure import CANCELLED
from grid_async_task.domain.message import CallbackRequest
from grid_async_task.domain.outcome import Crashed, Failed, HandedBack, Outcome, RetryLater, Snoozed, Succeeded
from grid_async_task.domain.progress import Progress
from grid_async_task.domain.task import TaskStatus
from grid_async_task.ports.task_repository import Renewal, TaskRepository
from grid_async_task.testing.contracts.task_repository.steps import (
    BOOM,
    HTTP,
    LEASE_S,
    OUTCOMES,
    QUEUE,
    RepositorySteps,
    a_message,
    assert_same,
    earlier,
)


class Outcomes(RepositorySteps):
    # -- outcomes ---------------------------------------------------------------------------------

    @pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: type(outcome).__name__)
    @pytest.mark.parametrize("callback", [CallbackRequest(), HTTP, CallbackRequest(None, "rabbitmq")])
    @pytest.mark.parametrize("progress", [None, Progress(66, "late")])
    def test_an_outcome_is_written_as_the_domain_says(
        self, repository: TaskRepository, outcome: Outcome, callback: CallbackRequest, progress: Progress | None
    ) -> None:
        claim = self.insert(repository, a_message(callback=callback))
        assert repository.renew(claim, lease_s=5, progress=Progress(30, "third"), cancel_known=False) is Renewal.HELD
        assert repository.save_checkpoint(claim, "[1]")
        seen, now = self.read(repository).task, self.read(repository).now
        assert repository.settle(claim, outcome, progress)
        row = self.seen(repository)
        assert_same(row, seen.settled(outcome, now, progress))
        assert row.started_at == seen.started_at
        assert row.created_at == seen.created_at

    def test_a_second_failed_attempt_costs_a_second_retry(self, repository: TaskRepository) -> None:
        self.finished(repository, a_message(), RetryLater(BOOM, 1))
        self.let_time_pass(2)
        claim = self.claim(repository, self.seen(repository))
        assert claim is not None
        assert repository.settle(claim, RetryLater(BOOM, 1), None)
        assert (self.seen(repository).retry_count, self.seen(repository).attempt) == (2, 2)

    def test_a_crash_is_counted_once_and_the_count_stays(self, repository: TaskRepository) -> None:
        self.finished(repository, a_message(), Crashed(BOOM))
        claim = self.claim(repository, self.seen(repository))
        assert claim is not None
        assert (claim.crash_count, claim.retry_count, claim.attempt) == (1, 0, 2)
        assert repository.settle(claim, Crashed(BOOM), None)
        claim = self.claim(repository, self.seen(repository))
        assert claim is not None
        assert repository.settle(claim, Succeeded({}), None)
        row = self.seen(repository)
        assert (row.crash_count, row.failure, row.status) == (2, None, TaskStatus.SUCCESS)

    def test_a_success_after_a_failure_forgets_the_failure(self, repository: TaskRepository) -> None:
        self.finished(repository, a_message(), RetryLater(BOOM, 1))
        self.let_time_pass(2)
        claim = self.claim(repository, self.seen(repository))
        assert claim is not None
        assert claim.failure is not None
        assert repository.settle(claim, Succeeded({}), None)
        row = self.seen(repository)
        assert (row.failure, row.result, row.progress.percent, row.retry_count) == (None, {}, 100, 1)

    @pytest.mark.parametrize("outcome", [Snoozed(1), HandedBack()], ids=["snoozed", "handed back"])
    def test_what_is_no_failure_keeps_the_failure_before_it(self, repository: TaskRepository, outcome: Outcome) -> None:
        self.finished(repository, a_message(), RetryLater(BOOM, 1))
        self.let_time_pass(2)
        claim = self.claim(repository, self.seen(repository))
        assert claim is not None
        assert repository.settle(claim, outcome, None)
        row = self.seen(repository)
        assert row.failure is not None
        assert (row.failure.message, row.retry_count) == (BOOM.message, 1)

    def test_an_outcome_keeps_a_cancel_that_came_meanwhile(self, repository: TaskRepository) -> None:
        claim = self.insert(repository)
        assert repository.request_cancel(self.seen(repository))
        assert repository.settle(claim, RetryLater(BOOM, 60), None)
        assert self.seen(repository).cancel_requested

    # -- checkpoints ------------------------------------------------------------------------------

    @pytest.mark.parametrize("value", ['{"page":1}', "[1,2]", '"text 💥"', "0", "false", "1.5"])
    def test_a_checkpoint_is_kept(self, repository: TaskRepository, value: str) -> None:
        claim = self.insert(repository)
        assert claim.checkpoint is None
        assert repository.save_checkpoint(claim, '"first"')
        assert repository.save_checkpoint(claim, value)
        assert repository.save_checkpoint(claim, value), "the same value again is no lost claim"
        assert self.seen(repository).checkpoint == json.loads(value)

    def test_a_checkpoint_leaves_the_lease_alone(self, repository: TaskRepository) -> None:
        claim = self.insert(repository)
        before = self.seen(repository)
        assert repository.save_checkpoint(claim, "1")
        assert self.seen(repository) == replace(before, checkpoint=1)

    @pytest.mark.parametrize("outcome", [HandedBack(), Snoozed(0), RetryLater(BOOM, 0), Failed(BOOM)])
    def test_a_checkpoint_survives_until_the_next_attempt(self, repository: TaskRepository, outcome: Outcome) -> None:
        claim = self.insert(repository)
        assert repository.save_checkpoint(claim, '{"page":7}')
        assert repository.settle(claim, outcome, None)
        if isinstance(outcome, Failed):
            assert repository.retry_failed(self.seen(repository))
        self.let_time_pass(1)
        again = self.claim(repository, self.seen(repository))
        assert again is not None
        assert again.checkpoint == {"page": 7}

    # -- failing without a run --------------------------------------------------------------------

    @pytest.mark.parametrize("callback", [CallbackRequest(), HTTP], ids=["no callback", "callback"])
    def test_a_waiting_task_fails_unrun(self, repository: TaskRepository, callback: CallbackRequest) -> None:
        repository.record_pending([a_message("p", callback=callback)], [QUEUE])
        self.finished(repository, a_message("r", callback=callback), RetryLater(BOOM, 500))
        for task_id in ("p", "r"):
            seen, now = self.read(repository, task_id).task, self.read(repository, task_id).now
            assert not repository.fail_unrun(replace(seen, attempt=9), CANCELLED)
            assert repository.fail_unrun(seen, CANCELLED)
            assert_same(self.seen(repository, task_id), seen.failed_unrun(CANCELLED, now))
            assert not repository.fail_unrun(seen, CANCELLED), "only once"

    def test_a_running_task_fails_unrun_only_when_the_lease_seen_has_expired(self, repository: TaskRepository) -> None:
        claim = self.insert(repository)
        assert not repository.fail_unrun(self.seen(repository), CANCELLED)
        self.let_time_pass(LEASE_S + 1)
        expired = self.seen(repository)
        assert not repository.fail_unrun(replace(expired, wake_at=earlier(expired.wake_at)), CANCELLED)
        now = self.read(repository).now
        assert repository.fail_unrun(expired, CANCELLED)
        assert_same(self.seen(repository), expired.failed_unrun(CANCELLED, now))
        assert repository.renew(claim, lease_s=60, progress=None, cancel_known=False) is Renewal.LOST

    def test_a_final_task_does_not_fail_unrun(self, repository: TaskRepository) -> None:
        done = self.finished(repository, a_message(), Succeeded({}))
        assert not repository.fail_unrun(done, CANCELLED)
        assert not repository.fail_unrun(replace(done, status=TaskStatus.PENDING), CANCELLED)
        assert self.seen(repository) == done
