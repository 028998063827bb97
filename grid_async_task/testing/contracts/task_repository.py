"""What every `TaskRepository` must do, as tests: derive a test class, and say how to make a repository and time pass.

    class TestMyRepository(TaskRepositoryContract):
        @pytest.fixture
        def repository(self):
            repository = MyRepository(...)
            repository.prepare()
            yield repository
            repository.close()

        def let_time_pass(self, seconds): ...

pytest makes a new instance of the class for every test, so a fixture may leave on `self` what `let_time_pass` needs.
What a row has to look like is never written down here: it is what the pure methods of `Task` say.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from threading import Barrier
from typing import Any

import pytest

from grid_async_task.domain.failure import CANCELLED, MAX_MESSAGE_BYTES, MAX_TYPE_CHARACTERS, Failure
from grid_async_task.domain.message import CallbackRequest, TaskMessage
from grid_async_task.domain.outcome import Crashed, Failed, HandedBack, Outcome, RetryLater, Snoozed, Succeeded
from grid_async_task.domain.progress import Progress
from grid_async_task.domain.task import CallbackStatus, Task, TaskStatus
from grid_async_task.ports.task_repository import (
    Backlog,
    CallbackMark,
    Pruned,
    Reading,
    Renewal,
    TaskFilter,
    TaskRepository,
)

QUEUE = "work"
ME, OTHER = "worker-1", "worker-2"
LEASE_S = 60.0
#: the worker's own setting, for messages that name no number of retries
WORKER_RETRIES = 7
#: two looks at the database's clock in one test may lie this far apart
TOLERANCE = timedelta(seconds=20)
BOOM = Failure("ValueError", "boom 💥")
EXHAUSTED = Failure("RetryExhausted", "boom", retryable=False, cause="ValueError")
HTTP = CallbackRequest("https://example.com/done", "http", {"order": "№ 1"})

OUTCOMES: tuple[Outcome, ...] = (
    Succeeded({"pages": 3}),
    Failed(EXHAUSTED),
    RetryLater(BOOM, 120.0),
    Snoozed(120.0),
    HandedBack(),
    Crashed(BOOM),
)


def a_message(task_id: str = "task-1", **fields: Any) -> TaskMessage:
    return TaskMessage(task_id, **fields)


def assert_same(actual: Task, expected: Task) -> None:
    """Equal in all that a repository keeps: times to within a little, failures without their traceback."""
    for name in ("wake_at", "created_at", "updated_at", "started_at", "completed_at"):
        assert_near(getattr(actual, name), getattr(expected, name), name)
    assert _comparable(actual) == _comparable(expected)


def assert_near(actual: datetime | None, expected: datetime | None, name: str = "time") -> None:
    assert (actual is None) == (expected is None), f"{name} is {actual}, expected {expected}"
    if actual is not None and expected is not None:
        assert actual.utcoffset() == timedelta(0), f"{name} is not in UTC"
        assert abs(actual - expected) < TOLERANCE, f"{name} is {actual}, expected {expected}"


def _comparable(task: Task) -> Task:
    failure = task.failure and replace(task.failure, retryable=False, traceback="")
    timeless: dict[str, Any] = dict.fromkeys(("wake_at", "created_at", "updated_at", "started_at", "completed_at"))
    return replace(task, failure=failure, **timeless)


class TaskRepositoryContract:
    """Derive from this, override the two members below."""

    @pytest.fixture
    def repository(self) -> Iterator[TaskRepository]:
        """A prepared repository without any row."""
        raise NotImplementedError

    def let_time_pass(self, seconds: float) -> None:
        """Make the database's clock go on, as seen from its rows."""
        raise NotImplementedError

    # -- steps that many tests begin with ---------------------------------------------------------

    def insert(self, repository: TaskRepository, message: TaskMessage | None = None, owner: str = ME) -> Task:
        task = repository.insert_claimed(
            message or a_message(), queue=QUEUE, owner=owner, lease_s=LEASE_S, max_retry_count=WORKER_RETRIES
        )
        assert task is not None
        return task

    def read(self, repository: TaskRepository, task_id: str = "task-1") -> Reading:
        reading = repository.read(task_id)
        assert reading is not None
        return reading

    def seen(self, repository: TaskRepository, task_id: str = "task-1") -> Task:
        return self.read(repository, task_id).task

    def claim(
        self, repository: TaskRepository, seen: Task, *, owner: str = OTHER, crashed: bool = False
    ) -> Task | None:
        return repository.claim(seen, owner=owner, lease_s=LEASE_S, max_retry_count=WORKER_RETRIES, crashed=crashed)

    def finished(self, repository: TaskRepository, message: TaskMessage, outcome: Outcome) -> Task:
        claim = self.insert(repository, message)
        assert repository.settle(claim, outcome, None)
        return self.seen(repository, message.task_id)

    def failed(self, repository: TaskRepository, task_id: str = "task-1") -> Task:
        return self.finished(repository, a_message(task_id), Failed(EXHAUSTED))

    # -- preparing --------------------------------------------------------------------------------

    def test_preparing_again_keeps_the_rows(self, repository: TaskRepository) -> None:
        self.insert(repository)
        repository.prepare()
        assert self.seen(repository).status is TaskStatus.RUNNING

    def test_there_is_no_row_that_nobody_wrote(self, repository: TaskRepository) -> None:
        assert repository.read("task-1") is None

    # -- a new task -------------------------------------------------------------------------------

    def test_a_new_task_is_inserted_claimed(self, repository: TaskRepository) -> None:
        message = a_message(task_type="pdf", data={"a": 1}, max_retry_count=3, callback=HTTP, extra={"trace": "x"})
        task = self.insert(repository, message)
        row, now = self.read(repository).task, self.read(repository).now
        expected = Task.pending(message, QUEUE, now).claimed(ME, now, LEASE_S, WORKER_RETRIES, crashed=False)
        assert_same(row, expected)
        assert_same(task, expected)
        assert row.to_message() == message
        assert row.crash_count == 0

    def test_a_message_that_names_no_retries_gets_the_workers_number(self, repository: TaskRepository) -> None:
        assert self.insert(repository).max_retry_count == WORKER_RETRIES
        assert self.seen(repository).max_retry_count == WORKER_RETRIES

    def test_a_message_that_names_zero_retries_keeps_them(self, repository: TaskRepository) -> None:
        self.insert(repository, a_message(max_retry_count=0))
        assert self.seen(repository).max_retry_count == 0

    def test_an_existing_row_is_not_inserted_again(self, repository: TaskRepository) -> None:
        self.insert(repository, a_message(data={"first": True}))
        before = self.seen(repository)
        again = repository.insert_claimed(
            a_message(data={"second": True}), queue="other", owner=OTHER, lease_s=1, max_retry_count=0
        )
        assert again is None
        assert self.seen(repository) == before

    @pytest.mark.parametrize("twin", ["job-1", "JOB-1", "Jöb-1", "Job-1\u0301", "Job-1a", "Jo\u200bb-1"])
    def test_ids_are_compared_byte_for_byte(self, repository: TaskRepository, twin: str) -> None:
        self.insert(repository, a_message("Job-1", data={"who": "first"}))
        self.insert(repository, a_message(twin, data={"who": "twin"}))
        assert self.seen(repository, "Job-1").data == {"who": "first"}
        assert self.seen(repository, twin).data == {"who": "twin"}

    @pytest.mark.parametrize(("one", "two"), [("ß", "ss"), ("é", "e"), ("é", "e\u0301"), ("æ", "ae"), ("💥", "🎉")])
    def test_letters_that_collations_merge_are_different(self, repository: TaskRepository, one: str, two: str) -> None:
        self.insert(repository, a_message(one))
        assert repository.read(two) is None
        self.insert(repository, a_message(two))
        assert self.seen(repository, one).id == one

    # -- what a row can hold ----------------------------------------------------------------------

    def test_texts_of_the_longest_kind_are_kept_whole(self, repository: TaskRepository) -> None:
        message = a_message(
            "💥" * 255,
            task_type="种" * 100,
            callback=CallbackRequest("https://example.com/" + "é" * 480, "汉" * 100, {"键": "值"}),
            max_retry_count=1_000_000,
        )
        claim = self.insert(repository, message)
        kind = "型" * MAX_TYPE_CHARACTERS
        failure = Failure(kind, "错" * (MAX_MESSAGE_BYTES // 3), retryable=False, cause=kind)
        progress = Progress(40, "🎉" * 500)
        assert repository.settle(claim, Failed(failure), progress)
        row = self.seen(repository, message.task_id)
        assert row.to_message() == message
        assert row.failure is not None
        assert (row.failure.error_type, row.failure.message, row.failure.cause) == (
            failure.error_type,
            failure.message,
            failure.cause,
        )
        assert row.progress == progress

    @pytest.mark.parametrize(
        "data",
        [
            {},
            {"": None, "a b": [1, 2.5, -1e-7, True, False, None, ""], "deep": {"er": {}}},
            {"quotes": "'\"\\ %s :name ${x} \n\t\u0000\u2028", "big": 2**53},
            {"emoji": "👩‍👩‍👧 💥", "汉字": "任务", "rtl": "שלום"},
            {"text": "é" * 1_000_000},
        ],
        ids=["empty", "kinds", "quotes", "scripts", "large"],
    )
    def test_any_json_object_comes_back_equal(self, repository: TaskRepository, data: dict[str, Any]) -> None:
        message = a_message(data=data, extra=dict(data), callback=CallbackRequest("http://x/", "http", data))
        claim = self.insert(repository, message)
        assert repository.save_checkpoint(claim, json.dumps(data))
        assert repository.settle(claim, Succeeded(data), None)
        row = self.seen(repository)
        assert (row.data, row.extra, row.callback.data, row.result, row.checkpoint) == (data, data, data, data, data)

    def test_nesting_of_99_levels_is_kept(self, repository: TaskRepository) -> None:
        data: dict[str, Any] = {}
        for _ in range(98):
            data = {"n": data}
        claim = self.insert(repository, a_message(data=data, extra={"x": data["n"]}))
        assert repository.settle(claim, Succeeded(data), None)
        row = self.seen(repository)
        assert row.data == data
        assert row.result == data

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
        assert self.claim(repository, replace(seen, wake_at=_earlier(seen.wake_at)), crashed=True) is None
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
        inserted = _at_once(
            lambda me: repository.insert_claimed(
                a_message("new"), queue=QUEUE, owner=me, lease_s=LEASE_S, max_retry_count=0
            )
        )
        claimed = _at_once(lambda me: self.claim(repository, seen, owner=me))
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
        assert not repository.fail_unrun(replace(expired, wake_at=_earlier(expired.wake_at)), CANCELLED)
        now = self.read(repository).now
        assert repository.fail_unrun(expired, CANCELLED)
        assert_same(self.seen(repository), expired.failed_unrun(CANCELLED, now))
        assert repository.renew(claim, lease_s=60, progress=None, cancel_known=False) is Renewal.LOST

    def test_a_final_task_does_not_fail_unrun(self, repository: TaskRepository) -> None:
        done = self.finished(repository, a_message(), Succeeded({}))
        assert not repository.fail_unrun(done, CANCELLED)
        assert not repository.fail_unrun(replace(done, status=TaskStatus.PENDING), CANCELLED)
        assert self.seen(repository) == done

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

    # -- recording --------------------------------------------------------------------------------

    def test_sent_messages_are_recorded_as_pending(self, repository: TaskRepository) -> None:
        messages = [
            a_message("b", data={"a": 1}, task_type="pdf", callback=HTTP, extra={"x": [1]}),
            a_message("a", max_retry_count=3),
        ]
        repository.record_pending(messages, ["q-b", "q-a"])
        for message, queue in zip(messages, ["q-b", "q-a"], strict=True):
            row, now = self.read(repository, message.task_id).task, self.read(repository, message.task_id).now
            assert_same(row, Task.pending(message, queue, now))
            assert row.to_message() == message

    def test_recording_leaves_existing_rows_as_they_are(self, repository: TaskRepository) -> None:
        done = self.finished(repository, a_message("b", data={"old": 1}), Succeeded({"r": 1}))
        ids = ["c", "b", "a"]
        repository.record_pending([a_message(i, data={"new": 1}) for i in ids], [QUEUE] * 3)
        assert self.seen(repository, "b") == done
        assert self.seen(repository, "a").status is self.seen(repository, "c").status is TaskStatus.PENDING

    def test_recording_takes_none_many_and_repeated_messages(self, repository: TaskRepository) -> None:
        repository.record_pending([], [])
        messages = [a_message(f"m-{i}", data={"i": i, "text": "é" * 3000}) for i in range(1000)]
        repository.record_pending([*messages, messages[0]], [QUEUE] * 1001)
        assert repository.count_by_status()[TaskStatus.PENDING] == 1000
        assert self.seen(repository, "m-999").data["i"] == 999

    @pytest.mark.parametrize("callback", [CallbackRequest(), HTTP], ids=["no callback", "callback"])
    def test_an_invalid_message_is_recorded_as_failed(
        self, repository: TaskRepository, callback: CallbackRequest
    ) -> None:
        invalid = Failure("ValidationError", "data is a string; it must be an object", retryable=False)
        assert repository.record_invalid(a_message(callback=callback), queue=QUEUE, failure=invalid)
        row, now = self.read(repository).task, self.read(repository).now
        failed = Task.pending(a_message(callback=callback), QUEUE, now).failed_unrun(invalid, now)
        assert_same(row, replace(failed, attempt=0))
        assert row.started_at is None

    def test_an_invalid_message_does_not_touch_an_existing_row(self, repository: TaskRepository) -> None:
        self.insert(repository)
        before = self.seen(repository)
        assert not repository.record_invalid(a_message(callback=HTTP), queue="other", failure=BOOM)
        assert self.seen(repository) == before

    def test_a_row_of_an_invalid_message_is_forgotten(self, repository: TaskRepository) -> None:
        assert repository.record_invalid(a_message(), queue=QUEUE, failure=BOOM)
        assert repository.forget_invalid(self.seen(repository))
        assert repository.read("task-1") is None
        assert self.insert(repository).attempt == 1

    def test_a_row_that_ran_is_not_forgotten(self, repository: TaskRepository) -> None:
        assert repository.record_invalid(a_message(), queue=QUEUE, failure=BOOM)
        invalid = self.seen(repository)
        assert repository.retry_failed(invalid)
        assert not repository.forget_invalid(invalid)
        for row in (self.seen(repository), self.failed(repository, "task-2")):
            assert not repository.forget_invalid(row)
            assert not repository.forget_invalid(replace(row, attempt=0))
            assert self.seen(repository, row.id) == row

    def test_an_invalid_row_is_not_forgotten_while_its_callback_is_due(self, repository: TaskRepository) -> None:
        assert repository.record_invalid(a_message(callback=HTTP), queue=QUEUE, failure=BOOM)
        taken = repository.take_callback(self.seen(repository), hold_s=90)
        assert taken is not None
        assert not repository.forget_invalid(self.seen(repository))
        assert repository.mark_callback(taken, CallbackMark(sent=True))
        assert repository.forget_invalid(self.seen(repository))

    # -- callbacks --------------------------------------------------------------------------------

    def due(self, repository: TaskRepository) -> Task:
        return self.finished(repository, a_message(callback=HTTP), Succeeded({"r": 1}))

    def test_a_due_callback_is_taken_by_one(self, repository: TaskRepository) -> None:
        due = self.due(repository)
        taken = repository.take_callback(due, hold_s=90)
        assert taken is not None
        row, now = self.read(repository).task, self.read(repository).now
        assert_same(row, replace(due, callback_attempts=1, wake_at=now + timedelta(seconds=90), updated_at=now))
        assert (taken.callback_attempts, taken.completed_at, taken.result) == (1, due.completed_at, due.result)
        assert row.completed_at == due.completed_at
        assert repository.take_callback(due, hold_s=90) is None, "another took it"
        assert repository.take_callback(row, hold_s=90) is None, "it is held"
        self.let_time_pass(91)
        assert repository.take_callback(self.seen(repository), hold_s=90) is not None, "the hold is over"

    def test_of_many_who_take_a_callback_at_once_exactly_one_wins(self, repository: TaskRepository) -> None:
        due = self.due(repository)
        assert len(_at_once(lambda _: repository.take_callback(due, hold_s=90))) == 1
        assert self.seen(repository).callback_attempts == 1

    def test_a_callback_is_taken_only_from_the_row_that_was_seen(self, repository: TaskRepository) -> None:
        due = self.due(repository)
        assert repository.take_callback(replace(due, attempt=2), hold_s=90) is None
        assert repository.take_callback(replace(due, callback_attempts=1), hold_s=90) is None
        assert repository.take_callback(replace(due, id="another"), hold_s=90) is None
        assert self.seen(repository) == due

    def test_there_is_nothing_to_take_from_a_task_that_is_not_final(self, repository: TaskRepository) -> None:
        self.insert(repository, a_message(callback=HTTP))
        self.let_time_pass(LEASE_S + 1)
        before = self.seen(repository)
        assert repository.take_callback(before, hold_s=90) is None
        assert repository.take_callback(replace(before, status=TaskStatus.SUCCESS), hold_s=90) is None
        assert self.seen(repository) == before

    @pytest.mark.parametrize(
        ("mark", "status", "attempts", "failures", "next_try_s"),
        [
            (CallbackMark(sent=True), CallbackStatus.SENT, 1, 0, None),
            (CallbackMark(retry_in_s=30), CallbackStatus.DUE, 1, 1, 30),
            (CallbackMark(), CallbackStatus.EXHAUSTED, 1, 1, None),
            (CallbackMark(retry_in_s=5, counts=False), CallbackStatus.DUE, 0, 0, 5),
        ],
        ids=["sent", "again", "exhausted", "no try"],
    )
    def test_a_callback_is_marked(
        self,
        repository: TaskRepository,
        mark: CallbackMark,
        status: CallbackStatus,
        attempts: int,
        failures: int,
        next_try_s: float | None,
    ) -> None:
        taken = repository.take_callback(self.due(repository), hold_s=90)
        assert taken is not None
        assert repository.mark_callback(taken, mark)
        row, now = self.read(repository).task, self.read(repository).now
        assert (row.callback_status, row.callback_attempts, row.callback_failures) == (status, attempts, failures)
        assert_near(row.wake_at, None if next_try_s is None else now + timedelta(seconds=next_try_s))
        assert (row.status, row.attempt, row.completed_at) == (taken.status, taken.attempt, taken.completed_at)

    def test_a_late_mark_changes_nothing(self, repository: TaskRepository) -> None:
        taken = repository.take_callback(self.due(repository), hold_s=90)
        assert taken is not None
        self.let_time_pass(91)
        assert repository.take_callback(self.seen(repository), hold_s=90) is not None
        before = self.seen(repository)
        for mark in (CallbackMark(sent=True), CallbackMark(), CallbackMark(retry_in_s=1)):
            assert not repository.mark_callback(taken, mark)
            assert not repository.mark_callback(replace(taken, attempt=2), mark)
        assert self.seen(repository) == before

    def test_a_callback_that_is_settled_is_not_marked_again(self, repository: TaskRepository) -> None:
        taken = repository.take_callback(self.due(repository), hold_s=90)
        assert taken is not None
        assert repository.mark_callback(taken, CallbackMark(sent=True))
        assert not repository.mark_callback(taken, CallbackMark(retry_in_s=1))
        assert self.seen(repository).callback_status is CallbackStatus.SENT
        assert repository.take_callback(self.seen(repository), hold_s=90) is None

    @pytest.mark.parametrize("mark", [CallbackMark(sent=True), CallbackMark()], ids=["sent", "exhausted"])
    def test_an_operator_has_a_callback_sent_again(self, repository: TaskRepository, mark: CallbackMark) -> None:
        taken = repository.take_callback(self.due(repository), hold_s=90)
        assert taken is not None
        assert not repository.redeliver_callback(self.seen(repository)), "somebody is on it"
        assert repository.mark_callback(taken, mark)
        over = self.seen(repository)
        assert not repository.redeliver_callback(replace(over, callback_attempts=7))
        assert not repository.redeliver_callback(replace(over, attempt=7))
        assert repository.redeliver_callback(over)
        row, now = self.read(repository).task, self.read(repository).now
        anew: dict[str, Any] = {"callback_status": CallbackStatus.DUE, "callback_attempts": 0, "callback_failures": 0}
        due = replace(over, **anew, wake_at=now, updated_at=now)
        assert_same(row, due)
        assert not repository.redeliver_callback(over), "once is enough"
        assert repository.take_callback(row, hold_s=90) is not None

    def test_a_callback_that_nobody_asked_for_is_not_sent_again(self, repository: TaskRepository) -> None:
        done = self.finished(repository, a_message(), Succeeded({}))
        assert not repository.redeliver_callback(done)
        assert self.seen(repository) == done

    # -- the sweep --------------------------------------------------------------------------------

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
        assert len(_at_once(lambda _: repository.win_sweep(QUEUE, 30) or None)) == 1
        self.let_time_pass(31)
        assert len(_at_once(lambda _: repository.win_sweep(QUEUE, 30) or None)) == 1

    def overdue(self, repository: TaskRepository, limit: int = 100) -> list[str]:
        return [task.id for task in repository.overdue(QUEUE, lost_after_s=900, limit=limit)]

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

    # -- questions --------------------------------------------------------------------------------

    def test_tasks_are_listed_by_their_callback(self, repository: TaskRepository) -> None:
        self.failed(repository, "without")
        taken = repository.take_callback(self.due(repository), hold_s=90)
        assert taken is not None
        assert _ids(repository.list_tasks(TaskFilter(callback_status=CallbackStatus.DUE), 20)) == {"task-1"}
        assert repository.mark_callback(taken, CallbackMark())
        assert repository.list_tasks(TaskFilter(callback_status=CallbackStatus.DUE), 20) == []
        assert _ids(repository.list_tasks(TaskFilter(callback_status=CallbackStatus.EXHAUSTED), 20)) == {"task-1"}

    def test_tasks_are_listed_newest_first_and_filtered(self, repository: TaskRepository) -> None:
        self.insert(repository, a_message("old", task_type="pdf"))
        self.let_time_pass(100)
        repository.record_pending([a_message("middle", task_type="pdf")], ["other"])
        self.let_time_pass(100)
        self.finished(repository, a_message("new"), Failed(BOOM))
        self.let_time_pass(1)

        def listed(wanted: TaskFilter, limit: int = 10) -> list[str]:
            return [task.id for task in repository.list_tasks(wanted, limit)]

        assert listed(TaskFilter()) == ["new", "middle", "old"]
        assert listed(TaskFilter(), limit=2) == ["new", "middle"]
        assert listed(TaskFilter((TaskStatus.RUNNING,))) == ["old"]
        assert listed(TaskFilter(task_type="pdf")) == ["middle", "old"]
        assert listed(TaskFilter(queue="other")) == ["middle"]
        assert listed(TaskFilter(before=self.seen(repository, "middle").created_at)) == ["old"]
        assert listed(TaskFilter((TaskStatus.PENDING,), task_type="pdf", queue=QUEUE)) == []
        row = repository.list_tasks(TaskFilter(), 1)[0]
        assert_same(row, self.seen(repository, "new"))

    def test_tasks_of_several_states_and_of_an_age(self, repository: TaskRepository) -> None:
        self.insert(repository, a_message("old"))
        self.let_time_pass(7200)
        repository.record_pending([a_message("middle")], [QUEUE])
        self.let_time_pass(3600)
        self.finished(repository, a_message("new"), Failed(BOOM))
        self.let_time_pass(1)

        def chosen(wanted: TaskFilter) -> list[str]:
            return [task.id for task in repository.list_tasks(wanted, 10)]

        assert chosen(TaskFilter()) == ["new", "middle", "old"]
        assert chosen(TaskFilter((TaskStatus.FAILED, TaskStatus.RUNNING))) == ["new", "old"]
        assert chosen(TaskFilter(older_than_s=1800)) == ["middle", "old"]
        assert chosen(TaskFilter(newer_than_s=5400)) == ["new", "middle"]
        assert chosen(TaskFilter(older_than_s=1800, newer_than_s=5400)) == ["middle"]
        assert chosen(TaskFilter((TaskStatus.FAILED,), older_than_s=1800)) == []

    @pytest.mark.parametrize(
        ("prefix", "expected"),
        [
            ("", {"job-1", "Job-1", "job_1", "job%2", "jóbs", "other"}),
            ("job", {"job-1", "job_1", "job%2"}),
            ("JOB", set()),
            ("job_", {"job_1"}),
            ("job%", {"job%2"}),
            ("jó", {"jóbs"}),
            ("job-1", {"job-1"}),
            ("job-1 ", set()),
            ("job-1x", set()),
            ("j\\", set()),
        ],
    )
    def test_an_id_begins_byte_for_byte(self, repository: TaskRepository, prefix: str, expected: set[str]) -> None:
        ids = ("job-1", "Job-1", "job_1", "job%2", "jóbs", "other")
        repository.record_pending([a_message(task_id) for task_id in ids], [QUEUE] * len(ids))
        wanted = TaskFilter(id_prefix=prefix)
        assert _ids(repository.list_tasks(wanted, 20)) == expected

    def test_tasks_are_counted_by_status(self, repository: TaskRepository) -> None:
        assert sum(repository.count_by_status().values()) == 0
        repository.record_pending([a_message("1"), a_message("2")], [QUEUE, "other"])
        self.insert(repository, a_message("3"))
        self.finished(repository, a_message("4"), Succeeded({}))
        counts = {status: count for status, count in repository.count_by_status().items() if count}
        assert counts == {TaskStatus.PENDING: 2, TaskStatus.RUNNING: 1, TaskStatus.SUCCESS: 1}

    def test_the_backlog_is_what_is_not_over_in_one_queue(self, repository: TaskRepository) -> None:
        assert repository.backlog(QUEUE) == Backlog({}, 0.0, 0, 0.0)
        self.finished(repository, a_message("owes 1", callback=HTTP), Succeeded({}))
        repository.record_pending([a_message("1"), a_message("2")], [QUEUE, "other"])
        self.let_time_pass(2)
        repository.record_pending([a_message("3")], [QUEUE])
        self.insert(repository, a_message("running"))
        self.finished(repository, a_message("owes 2", callback=HTTP), Succeeded({}))
        self.finished(repository, a_message("over"), Succeeded({}))
        self.finished(repository, a_message("retrying"), RetryLater(BOOM, 1))
        backlog = repository.backlog(QUEUE)
        assert {status: count for status, count in backlog.tasks.items() if count} == {
            TaskStatus.PENDING: 2,
            TaskStatus.RUNNING: 1,
            TaskStatus.RETRYING: 1,
        }
        assert backlog.callbacks_due == 2
        assert 1.9 <= backlog.oldest_waiting_s < 60
        assert 1.9 <= backlog.oldest_callback_s < 60

    def test_what_is_for_later_or_was_retried_just_now_has_not_waited_long(self, repository: TaskRepository) -> None:
        repository.record_delayed(a_message("later"), QUEUE, 3600)
        self.finished(repository, a_message("retried"), Failed(BOOM))
        self.let_time_pass(3)
        assert repository.backlog(QUEUE).oldest_waiting_s == 0
        assert repository.retry_failed(self.seen(repository, "retried"))
        backlog = repository.backlog(QUEUE)
        assert (backlog.tasks[TaskStatus.PENDING], backlog.oldest_waiting_s < 3) == (2, True)

    def test_pruning_deletes_what_ended_long_ago_and_owes_nothing(self, repository: TaskRepository) -> None:
        claim = self.insert(repository, a_message("done"))
        assert repository.save_checkpoint(claim, "1")
        assert repository.settle(claim, Succeeded({}), None)
        self.failed(repository, "failed")
        self.finished(repository, a_message("owes", callback=HTTP), Succeeded({}))
        self.insert(repository, a_message("running"))
        self.finished(repository, a_message("retrying"), RetryLater(BOOM, 1))
        repository.record_pending([a_message("pending")], [QUEUE])
        ended_late = self.insert(repository, a_message("ended late"))
        self.let_time_pass(1000)
        assert repository.settle(ended_late, Succeeded({}), None)
        self.finished(repository, a_message("young"), Succeeded({}))

        assert repository.prune(2000, 10).count == 0
        assert repository.prune(900, 1).count == 1
        assert repository.prune(900, 10).count == 1
        assert repository.prune(900, 10).count == 0
        assert _ids(repository.list_tasks(TaskFilter(), 20)) == {
            "owes",
            "running",
            "retrying",
            "pending",
            "ended late",
            "young",
        }

    def test_pruning_only_what_ended_in_one_way(self, repository: TaskRepository) -> None:
        self.finished(repository, a_message("good"), Succeeded({}))
        self.failed(repository, "bad")
        self.failed(repository, "bad too")
        self.let_time_pass(1000)
        self.finished(repository, a_message("young"), Succeeded({}))
        assert repository.count_prunable(900) == 3
        assert repository.count_prunable(900, TaskStatus.FAILED) == 2
        assert repository.prune(900, 10, TaskStatus.SUCCESS).count == 1
        assert _ids(repository.list_tasks(TaskFilter(), 20)) == {"bad", "bad too", "young"}
        assert repository.prune(900, 1, TaskStatus.FAILED).count == 1
        assert repository.count_prunable(900, TaskStatus.FAILED) == 1
        assert repository.count_prunable(900, TaskStatus.SUCCESS) == 0

    def test_pruning_goes_on_where_it_was(self, repository: TaskRepository) -> None:
        for number in range(4):
            self.finished(repository, a_message(f"old {number}"), Succeeded({}))
            self.let_time_pass(10)
        first = repository.prune(5, 2)
        assert first == Pruned(2, first.reached)
        kept = repository.list_tasks(TaskFilter(), 20)
        assert [task.id for task in kept] == ["old 3", "old 2"]
        assert repository.prune(5, 2, None, kept[0].created_at) == Pruned(1, kept[0].created_at)
        assert repository.prune(5, 2, None, kept[0].created_at) == Pruned(0, None)
        assert repository.prune(5, 2, None, first.reached) == Pruned(1, kept[1].created_at)
        assert repository.prune(5, 2) == Pruned(0, None)

    def test_a_task_that_was_pruned_leaves_no_checkpoint_to_a_new_one(self, repository: TaskRepository) -> None:
        claim = self.insert(repository)
        assert repository.save_checkpoint(claim, "1")
        assert repository.settle(claim, Succeeded({}), None)
        self.let_time_pass(10)
        assert repository.prune(5, 10).count == 1
        self.insert(repository)
        assert self.seen(repository).checkpoint is None

    def test_the_time_read_is_utc_and_goes_on(self, repository: TaskRepository) -> None:
        self.insert(repository)
        first = self.read(repository).now
        assert first.tzinfo == timezone.utc
        assert self.read(repository).now >= first


def _earlier(moment: datetime | None) -> datetime:
    assert moment is not None
    return moment - timedelta(seconds=1)


def _ids(tasks: Iterable[Task]) -> set[str]:
    return {task.id for task in tasks}


def _at_once(step: Any, threads: int = 8) -> list[Any]:
    """What the step gave to each of several threads that begin it together, without the Nones."""
    barrier = Barrier(threads)

    def run(number: int) -> Any:
        barrier.wait(timeout=30)
        return step(f"worker-{number}")

    with ThreadPoolExecutor(threads) as pool:
        return [answer for answer in pool.map(run, range(threads)) if answer is not None]
