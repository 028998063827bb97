"""A callback that is due: who sends it, and what became of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from grid_async_task.domain.outcome import Succeeded
from grid_async_task.domain.task import CallbackStatus, TaskStatus
from grid_async_task.ports.task_repository import CallbackMark, TaskRepository
from grid_async_task.testing.contracts.task_repository.steps import (
    HTTP,
    LEASE_S,
    RepositorySteps,
    a_message,
    assert_near,
    assert_same,
    at_once,
)


class Callbacks(RepositorySteps):
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
        assert len(at_once(lambda _: repository.take_callback(due, hold_s=90))) == 1
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
