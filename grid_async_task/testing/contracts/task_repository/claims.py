"""Who has a task: claim, heartbeat, fence."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from grid_async_task.domain.outcome import Failed, HandedBack, Outcome, RetryLater, Succeeded
from grid_async_task.domain.progress import Progress
from grid_async_task.domain.task import Task, TaskStatus
from grid_async_task.ports.task_repository import Renewal, TaskRepository
from grid_async_task.testing.contracts.task_repository.steps import (
    BOOM,
    HTTP,
    LEASE_S,
    ME,
    OTHER,
    OUTCOMES,
    QUEUE,
    WORKER_RETRIES,
    RepositorySteps,
    a_message,
    assert_near,
    assert_same,
    at_once,
    earlier,
)


class Claims(RepositorySteps):
    # -- claiming a row ---------------------------------------------------------------------------

    def test_a_pending_row_is_claimed(self, repository: TaskRepository) -> None:
        repository.record_pending([a_message(data={"a": 1})], [QUEUE])
        seen, now = self.read(repository).task, self.read(repository).now
        claim = self.claim(repository, seen)
        assert claim is not None
        expected = seen.claimed(OTHER, now, LEASE_S, WORKER_RETRIES, crashed=False)
        assert_same(claim, expected)
        assert_same(self.seen(repository), expected)
        assert claim.attempt == 1
        assert claim.max_retry_count == WORKER_RETRIES

    def test_a_row_is_claimed_once(self, repository: TaskRepository) -> None:
        repository.record_pending([a_message()], [QUEUE])
        seen = self.seen(repository)
        assert self.claim(repository, seen, owner=ME) is not None
        assert self.claim(repository, seen, owner=OTHER) is None
        assert self.seen(repository).owner == ME

    def test_a_claim_of_what_is_not_there_is_refused(self, repository: TaskRepository) -> None:
        assert self.claim(repository, Task("task-1", QUEUE, TaskStatus.PENDING)) is None

    def test_a_claim_by_a_stale_view_of_the_row_is_refused(self, repository: TaskRepository) -> None:
        repository.record_pending([a_message()], [QUEUE])
        seen = self.seen(repository)
        assert self.claim(repository, replace(seen, attempt=5)) is None
        assert self.claim(repository, replace(seen, status=TaskStatus.RETRYING)) is None
        assert_same(self.seen(repository), seen)

    def test_a_retrying_row_is_claimed_only_when_it_is_due(self, repository: TaskRepository) -> None:
        self.finished(repository, a_message(), RetryLater(BOOM, 120))
        self.let_time_pass(60)
        assert self.claim(repository, self.seen(repository)) is None
        self.let_time_pass(61)
        seen = self.seen(repository)
        claim = self.claim(repository, seen)
        assert claim is not None
        assert (claim.attempt, claim.retry_count, claim.crash_count) == (2, 1, 0)
        assert_same(self.seen(repository), claim)

    def test_a_living_lease_is_not_taken_over(self, repository: TaskRepository) -> None:
        self.insert(repository)
        before = self.seen(repository)
        assert self.claim(repository, before, crashed=True) is None
        assert self.seen(repository) == before

    def test_an_expired_lease_is_taken_over_and_costs_a_crash(self, repository: TaskRepository) -> None:
        first = self.insert(repository)
        assert repository.save_checkpoint(first, '{"page": 7}')
        self.let_time_pass(LEASE_S + 1)
        seen, now = self.read(repository).task, self.read(repository).now
        claim = self.claim(repository, seen, crashed=True)
        assert claim is not None
        expected = seen.claimed(OTHER, now, LEASE_S, WORKER_RETRIES, crashed=True)
        assert_same(claim, expected)
        assert_same(self.seen(repository), expected)
        assert (claim.attempt, claim.crash_count, claim.retry_count, claim.checkpoint) == (2, 1, 0, {"page": 7})

    def test_a_takeover_gets_the_checkpoint_that_was_saved_after_the_look(self, repository: TaskRepository) -> None:
        first = self.insert(repository)
        self.let_time_pass(LEASE_S + 1)
        seen = self.seen(repository)
        assert repository.save_checkpoint(first, '"newest"')
        claim = self.claim(repository, seen, crashed=True)
        assert claim is not None
        assert claim.checkpoint == "newest"
        assert not repository.save_checkpoint(first, '"too late"')

    def test_a_takeover_that_is_no_crash_costs_none(self, repository: TaskRepository) -> None:
        self.insert(repository)
        self.let_time_pass(LEASE_S + 1)
        claim = self.claim(repository, self.seen(repository), crashed=False)
        assert claim is not None
        assert claim.crash_count == self.seen(repository).crash_count == 0

    def test_a_lease_that_was_renewed_since_it_was_seen_is_not_taken_over(self, repository: TaskRepository) -> None:
        mine = self.insert(repository)
        self.let_time_pass(LEASE_S + 1)
        seen = self.seen(repository)
        assert repository.renew(mine, lease_s=10, progress=None, cancel_known=False) is Renewal.HELD
        self.let_time_pass(11)
        assert self.claim(repository, replace(seen, wake_at=earlier(seen.wake_at)), crashed=True) is None
        assert self.claim(repository, self.seen(repository), crashed=True) is not None

    def test_a_cancelled_row_is_not_claimed(self, repository: TaskRepository) -> None:
        claim = self.insert(repository)
        assert repository.request_cancel(self.seen(repository))
        self.let_time_pass(LEASE_S + 1)
        assert self.claim(repository, self.seen(repository), crashed=True) is None
        assert repository.settle(claim, RetryLater(BOOM, 1), None)
        self.let_time_pass(2)
        assert self.claim(repository, self.seen(repository)) is None

    @pytest.mark.parametrize("outcome", [Succeeded({}), Failed(BOOM)], ids=["success", "failed"])
    def test_a_final_row_is_not_claimed(self, repository: TaskRepository, outcome: Outcome) -> None:
        final = self.finished(repository, a_message(callback=HTTP), outcome)
        self.let_time_pass(10 * LEASE_S)
        assert self.claim(repository, self.seen(repository)) is None
        assert self.seen(repository).attempt == final.attempt

    def test_of_many_who_insert_or_claim_at_once_exactly_one_wins(self, repository: TaskRepository) -> None:
        repository.record_pending([a_message("recorded")], [QUEUE])
        seen = self.seen(repository, "recorded")
        inserted = at_once(
            lambda me: repository.insert_claimed(
                a_message("new"), queue=QUEUE, owner=me, lease_s=LEASE_S, max_retry_count=0
            )
        )
        claimed = at_once(lambda me: self.claim(repository, seen, owner=me))
        for winners, task_id in ((inserted, "new"), (claimed, "recorded")):
            assert len(winners) == 1
            assert winners[0].owner == self.seen(repository, task_id).owner
            assert self.seen(repository, task_id).attempt == 1

    # -- the heartbeat ----------------------------------------------------------------------------

    def test_a_renewal_extends_the_lease_and_writes_the_progress(self, repository: TaskRepository) -> None:
        claim = self.insert(repository)
        self.let_time_pass(40)
        assert repository.renew(claim, lease_s=500, progress=Progress(40, "进度"), cancel_known=False) is Renewal.HELD
        row, now = self.read(repository).task, self.read(repository).now
        assert_near(row.wake_at, now + timedelta(seconds=500))
        assert_near(row.updated_at, now)
        assert row.progress == Progress(40, "进度")
        assert repository.renew(claim, lease_s=500, progress=None, cancel_known=False) is Renewal.HELD
        assert self.seen(repository).progress == Progress(40, "进度")

    def test_a_renewal_that_changes_nothing_still_holds(self, repository: TaskRepository) -> None:
        claim = self.insert(repository)
        for _ in range(3):
            assert repository.renew(claim, lease_s=60, progress=Progress(0), cancel_known=False) is Renewal.HELD

    def test_a_renewal_revives_an_expired_lease_of_the_same_attempt(self, repository: TaskRepository) -> None:
        claim = self.insert(repository)
        self.let_time_pass(10 * LEASE_S)
        assert repository.renew(claim, lease_s=LEASE_S, progress=None, cancel_known=False) is Renewal.HELD
        assert self.claim(repository, self.seen(repository), crashed=True) is None

    def test_a_renewal_learns_of_a_cancel_and_renews_all_the_same(self, repository: TaskRepository) -> None:
        claim = self.insert(repository)
        assert repository.request_cancel(self.seen(repository))
        renewal = repository.renew(claim, lease_s=500, progress=Progress(9), cancel_known=False)
        assert renewal is Renewal.CANCEL_REQUESTED
        row, now = self.read(repository).task, self.read(repository).now
        assert_near(row.wake_at, now + timedelta(seconds=500))
        assert row.progress == Progress(9)
        assert row.cancel_requested
        assert repository.renew(claim, lease_s=500, progress=None, cancel_known=True) is Renewal.HELD

    def test_cancel_known_without_a_cancel_is_held_too(self, repository: TaskRepository) -> None:
        claim = self.insert(repository)
        assert repository.renew(claim, lease_s=60, progress=None, cancel_known=True) is Renewal.HELD

    # -- the fence --------------------------------------------------------------------------------

    @pytest.mark.parametrize("stale", ["attempt", "owner", "handed back", "final", "taken over", "gone"])
    def test_who_lost_the_claim_writes_nothing(self, repository: TaskRepository, stale: str) -> None:
        claim = self.insert(repository)
        match stale:
            case "attempt":
                claim = replace(claim, attempt=2)
            case "owner":
                claim = replace(claim, owner=OTHER)
            case "handed back":
                assert repository.settle(claim, HandedBack(), None)
            case "final":
                assert repository.settle(claim, Succeeded({"done": True}), None)
            case "taken over":
                self.let_time_pass(LEASE_S + 1)
                assert self.claim(repository, self.seen(repository), crashed=True) is not None
            case "gone":
                claim = replace(claim, id="another")
        before = self.seen(repository)
        for known in (False, True):
            renewal = repository.renew(claim, lease_s=999, progress=Progress(99), cancel_known=known)
            assert renewal is Renewal.LOST
        for outcome in OUTCOMES:
            assert not repository.settle(claim, outcome, Progress(99))
        assert not repository.save_checkpoint(claim, '"late"')
        assert self.seen(repository) == before
