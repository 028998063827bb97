"""How tasks come into the table, and what a row can hold."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from grid_async_task.domain.failure import MAX_MESSAGE_BYTES, MAX_TYPE_CHARACTERS, Failure
from grid_async_task.domain.message import CallbackRequest
from grid_async_task.domain.outcome import Failed, Succeeded
from grid_async_task.domain.progress import Progress
from grid_async_task.domain.task import Task, TaskStatus
from grid_async_task.ports.task_repository import CallbackMark, TaskRepository
from grid_async_task.testing.contracts.task_repository.steps import (
    BOOM,
    HTTP,
    LEASE_S,
    ME,
    OTHER,
    QUEUE,
    WORKER_RETRIES,
    RepositorySteps,
    a_message,
    assert_same,
)


class NewTasks(RepositorySteps):
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
