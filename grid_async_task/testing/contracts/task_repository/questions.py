"""What operators and callers ask, and the removal of old rows."""

from __future__ import annotations

from datetime import timezone

import pytest

from grid_async_task.domain.outcome import Failed, RetryLater, Succeeded
from grid_async_task.domain.task import CallbackStatus, TaskStatus
from grid_async_task.ports.task_repository import Backlog, CallbackMark, Pruned, TaskFilter, TaskRepository
from grid_async_task.testing.contracts.task_repository.steps import (
    BOOM,
    HTTP,
    QUEUE,
    RepositorySteps,
    a_message,
    assert_same,
    ids_of,
)


class Questions(RepositorySteps):
    def test_tasks_are_listed_by_their_callback(self, repository: TaskRepository) -> None:
        self.failed(repository, "without")
        taken = repository.take_callback(self.due(repository), hold_s=90)
        assert taken is not None
        assert ids_of(repository.list_tasks(TaskFilter(callback_status=CallbackStatus.DUE), 20)) == {"task-1"}
        assert repository.mark_callback(taken, CallbackMark())
        assert repository.list_tasks(TaskFilter(callback_status=CallbackStatus.DUE), 20) == []
        assert ids_of(repository.list_tasks(TaskFilter(callback_status=CallbackStatus.EXHAUSTED), 20)) == {"task-1"}

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
        assert ids_of(repository.list_tasks(wanted, 20)) == expected

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
        assert ids_of(repository.list_tasks(TaskFilter(), 20)) == {
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
        assert ids_of(repository.list_tasks(TaskFilter(), 20)) == {"bad", "bad too", "young"}
        assert repository.prune(900, 1, TaskStatus.FAILED).count == 1
        assert repository.count_prunable(900, TaskStatus.FAILED) == 1
        assert repository.count_prunable(900, TaskStatus.SUCCESS) == 0

    def test_pruning_goes_on_where_it_was(self, repository: TaskRepository) -> None:
        for number in range(4):
            self.finished(repository, a_message(f"old {number}"), Succeeded({}))
            self.let_time_pass(10)
        second = self.seen(repository, "old 1").created_at
        first = repository.prune(5, 2)
        assert first == Pruned(2, second)
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
