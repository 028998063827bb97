"""No sequence of events leads out of the five states, or past the limits."""

from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grid_async_task.domain.errors import IllegalTransition
from grid_async_task.domain.failure import CANCELLED, Failure, process_lost
from grid_async_task.domain.message import CallbackRequest, TaskMessage
from grid_async_task.domain.outcome import (
    Crashed,
    Failed,
    HandedBack,
    RetryLater,
    Snoozed,
    Succeeded,
    after_crash,
    after_failure,
)
from grid_async_task.domain.progress import Progress
from grid_async_task.domain.retry import RetryPolicy
from grid_async_task.domain.task import TRANSITIONS, CallbackStatus, Task, TaskStatus

NOW = datetime(2024, 1, 15, 10, 30, tzinfo=timezone.utc)
FAILURE = Failure("RuntimeError", "no")

#: what may be tried on a task, legal or not
EVENTS = {
    "claim": lambda task: task.claimed("me", NOW, 60, 3, crashed=False),
    "take over": lambda task: task.claimed("other", NOW, 60, 3, crashed=True),
    "renew": lambda task: task.renewed(NOW, 60, Progress(5)),
    "succeed": lambda task: task.settled(Succeeded({}), NOW, None),
    "fail": lambda task: task.settled(Failed(FAILURE), NOW, None),
    "fail an attempt": lambda task: task.settled(
        after_failure(
            FAILURE,
            retries_used=task.retry_count,
            retries_allowed=task.max_retry_count or 0,
            policy=RetryPolicy(),
            randomness=random.Random(0),
        ),
        NOW,
        None,
    ),
    "snooze": lambda task: task.settled(Snoozed(5), NOW, None),
    "hand back": lambda task: task.settled(HandedBack(), NOW, None),
    "crash": lambda task: task.settled(Crashed(FAILURE), NOW, None),
    "cancel": lambda task: task.failed_unrun(CANCELLED, NOW),
    "operator's retry": lambda task: task.retried_by_operator(NOW),
}
#: what only the worker that holds the lease does
OWNERS = {"renew", "succeed", "fail", "fail an attempt", "snooze", "hand back", "crash"}


def new_task(callback: CallbackRequest = CallbackRequest()) -> Task:  # noqa: B008
    return Task.pending(TaskMessage("t", callback=callback), "work", NOW)


@given(st.lists(st.sampled_from(sorted(EVENTS)), max_size=60), st.booleans())
def test_any_events_stay_within_the_rules(names: list[str], wants_callback: bool) -> None:
    callback = CallbackRequest("http://example.test/") if wants_callback else CallbackRequest()
    task = new_task(callback)
    for name in names:
        if name in OWNERS and task.status is not TaskStatus.RUNNING:
            continue
        before = task
        try:
            task = EVENTS[name](task)
        except IllegalTransition as refused:
            assert before.status.value in str(refused)
            assert refused.after in str(refused)
            continue
        assert task.status in TaskStatus
        assert task.status in TRANSITIONS[before.status] or task.status is before.status
        assert task.retry_count <= (task.max_retry_count or 0)
        assert task.attempt >= before.attempt
        assert 0 <= task.progress.percent <= 100
        assert (task.owner is not None) == (task.status is TaskStatus.RUNNING)
        assert (task.completed_at is not None) == task.status.is_final
        if task.status.is_final:
            assert (task.wake_at is not None) == wants_callback
            assert (task.callback_status is CallbackStatus.DUE) == wants_callback
        if task.status in (TaskStatus.RUNNING, TaskStatus.RETRYING):
            assert task.wake_at is not None
        if task.attempt == before.attempt and before.status.is_final:
            assert task == before


@pytest.mark.parametrize("before", TaskStatus)
@pytest.mark.parametrize("after", TaskStatus)
def test_each_transition_is_allowed_or_names_both_states(before: TaskStatus, after: TaskStatus) -> None:
    task = Task(id="t", queue="work", status=before)
    if after in TRANSITIONS[before]:
        assert task._become(after, NOW).status is after
    else:
        with pytest.raises(IllegalTransition, match=f"{before.value}.*{after.value}"):
            task._become(after, NOW)


def test_success_stands_at_100_with_its_last_message() -> None:
    task = EVENTS["claim"](new_task()).settled(Succeeded({"a": 1}), NOW, Progress(42, "almost"))
    assert task.progress == Progress(100, "almost")
    assert task.result == {"a": 1}


def test_an_operators_retry_starts_counts_anew_and_keeps_attempt_and_checkpoint() -> None:
    running = EVENTS["claim"](new_task(CallbackRequest("http://example.test/")))
    failed = running.settled(Failed(FAILURE), NOW, None)
    revived = failed.retried_by_operator(NOW + timedelta(hours=1))
    assert (revived.retry_count, revived.crash_count, revived.cancel_requested) == (0, 0, False)
    assert revived.attempt == failed.attempt + 1
    assert revived.callback_status is None
    assert revived.failure is None
    assert revived.wake_at == NOW + timedelta(hours=1)


def test_the_state_after_a_takeover_counts_a_crash_and_no_retry() -> None:
    task = EVENTS["take over"](EVENTS["claim"](new_task()))
    assert (task.attempt, task.crash_count, task.retry_count) == (2, 1, 0)


def test_a_crash_of_the_handlers_own_process_counts_as_a_workers_does() -> None:
    task = EVENTS["crash"](EVENTS["claim"](new_task()))
    assert (task.status, task.crash_count, task.retry_count, task.wake_at) == (TaskStatus.PENDING, 1, 0, None)
    assert task.failure == FAILURE


def test_the_last_crash_that_is_allowed_is_followed_by_another_attempt_and_the_next_by_none() -> None:
    lost = process_lost("killed by SIGSEGV")
    assert after_crash(lost, crashes_before=2, crashes_allowed=3) == Crashed(lost)
    outcome = after_crash(lost, crashes_before=3, crashes_allowed=3)
    assert isinstance(outcome, Failed)
    assert (outcome.failure.error_type, outcome.failure.retryable) == ("WorkerLost", False)
    assert outcome.failure.message.startswith("4 workers were lost")
    assert "killed by SIGSEGV" in outcome.failure.message


def test_a_message_made_from_a_row_means_the_same_as_the_first_one() -> None:
    message = TaskMessage(
        "t", "report", {"a": [1]}, 3, CallbackRequest("http://example.test/", "http", {"b": 2}), {"unknown": True}
    )
    assert Task.pending(message, "work", NOW).to_message() == message


def test_retry_later_uses_up_one_retry() -> None:
    task = EVENTS["claim"](new_task()).settled(RetryLater(FAILURE, 7), NOW, None)
    assert (task.retry_count, task.wake_at, task.failure) == (1, NOW + timedelta(seconds=7), FAILURE)
