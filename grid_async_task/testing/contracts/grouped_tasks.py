"""What a `TaskRepository` that claims and ends tasks together must do, beside `TaskRepositoryContract`.

It is for those that have a fast way to do it. All others inherit the answers None and False.
"""

from __future__ import annotations

from typing import Any

from grid_async_task.domain.message import CallbackRequest, TaskMessage
from grid_async_task.domain.outcome import HandedBack, Succeeded
from grid_async_task.domain.progress import Progress
from grid_async_task.domain.task import Task, TaskStatus
from grid_async_task.ports.task_repository import TaskRepository
from grid_async_task.testing.contracts.task_repository.steps import LEASE_S, ME, OTHER, QUEUE, RepositorySteps


class GroupedTasksContract(RepositorySteps):
    """Tests of `insert_claimed_together` and `succeed_together`."""

    def claim_together(self, repository: TaskRepository, *messages: TaskMessage) -> list[Task]:
        tasks = repository.insert_claimed_together(messages, queue=QUEUE, owner=ME, lease_s=LEASE_S, max_retry_count=7)
        assert tasks is not None
        return tasks

    def test_a_group_is_claimed_as_each_by_itself_would_be(self, repository: TaskRepository) -> None:
        messages = [
            TaskMessage("b", "convert", {"pages": ["№ 1", None, 1.5]}, 3, extra={"tenant": "x"}),
            TaskMessage("a", callback=CallbackRequest("https://example.com/", "http", {"order": 1})),
            TaskMessage("c'\\\"%s"),
        ]
        tasks = self.claim_together(repository, *messages)
        assert [task.id for task in tasks] == ["b", "a", "c'\\\"%s"]
        for message, task in zip(messages, tasks, strict=True):
            row = self.seen(repository, task.id)
            assert row.to_message().task_id == message.task_id
            for each in (task, row):
                assert (each.status, each.attempt, each.owner, each.grouped) == (TaskStatus.RUNNING, 1, ME, True)
                assert (each.queue, each.crash_count, each.data, each.extra) == (QUEUE, 0, message.data, message.extra)
                assert (each.task_type, each.callback) == (message.task_type, message.callback)
                assert each.max_retry_count == (7 if message.max_retry_count is None else 3)
                assert each.wake_at is not None
                assert each.started_at is not None
                assert LEASE_S - 5 < (each.wake_at - each.started_at).total_seconds() < LEASE_S + 5

    def test_where_one_row_exists_none_is_claimed(self, repository: TaskRepository) -> None:
        repository.record_pending([TaskMessage("b")], [QUEUE])
        again = [TaskMessage(name) for name in "abc"]
        assert repository.insert_claimed_together(again, queue=QUEUE, owner=ME, lease_s=60, max_retry_count=0) is None
        assert repository.read("a") is None
        assert repository.read("c") is None
        assert self.seen(repository, "b").status is TaskStatus.PENDING

    def test_a_group_succeeds_as_each_by_itself_would(self, repository: TaskRepository) -> None:
        together = self.claim_together(repository, *(TaskMessage(name) for name in "abc"))
        alone = repository.insert_claimed(TaskMessage("d"), queue=QUEUE, owner=ME, lease_s=60, max_retry_count=7)
        assert alone is not None
        results: list[dict[str, Any]] = [{}, {"text": "it's 100 % \\ 💥", "n": [1.5, None]}, {"data": "x"}]
        assert repository.succeed_together(together, results)
        assert repository.settle(alone, Succeeded({"data": "x"}), None)
        rows = [self.seen(repository, name) for name in "abcd"]
        assert [row.result for row in rows[:3]] == results
        like_alone = self.seen(repository, "d")
        for row in rows:
            assert (row.status, row.owner, row.wake_at) == (TaskStatus.SUCCESS, None, None)
            assert (row.progress, row.failure) == (Progress(100), None)
            assert (row.attempt, row.callback_status) == (like_alone.attempt, like_alone.callback_status)
            assert row.completed_at is not None
            assert row.completed_at == row.updated_at

    def test_a_claim_that_was_lost_does_not_succeed(self, repository: TaskRepository) -> None:
        mine, lost = self.claim_together(repository, TaskMessage("a"), TaskMessage("b"))
        assert repository.settle(lost, HandedBack(), None)
        again = repository.claim(self.seen(repository, "b"), owner=OTHER, lease_s=60, max_retry_count=0, crashed=False)
        assert again is not None
        assert not repository.succeed_together([mine, lost], [{"by": "me"}, {"by": "me"}])
        row = self.seen(repository, "b")
        assert (row.status, row.owner, row.attempt, row.result) == (TaskStatus.RUNNING, OTHER, 2, None)
        assert repository.settle(again, Succeeded({"by": "other"}), None)
        assert not repository.succeed_together([lost], [{"by": "me"}])
        assert self.seen(repository, "b").result == {"by": "other"}

    def test_many_are_read_as_each_by_itself_would_be(self, repository: TaskRepository) -> None:
        repository.record_pending([TaskMessage("a", data={"n": 1}), TaskMessage("A")], [QUEUE] * 2)
        readings = {reading.task.id: reading for reading in repository.read_together(["a", "none", "A"])}
        assert {task_id: reading.task for task_id, reading in readings.items()} == {
            task_id: self.seen(repository, task_id) for task_id in ("a", "A")
        }

    def test_waiting_tasks_are_claimed_as_each_by_itself_would_be(self, repository: TaskRepository) -> None:
        names = ["b", "a", "c'\\\"%s"]
        repository.record_pending([TaskMessage(name, data={"of": name}) for name in names], [QUEUE] * 3)
        seen = [self.seen(repository, name) for name in names]
        tasks = repository.claim_together(seen, owner=ME, lease_s=LEASE_S, max_retry_count=7)
        assert tasks is not None
        assert [task.id for task in tasks] == names
        for task in [*tasks, *(self.seen(repository, name) for name in names)]:
            assert (task.status, task.attempt, task.owner, task.grouped) == (TaskStatus.RUNNING, 1, ME, True)
            assert (task.queue, task.crash_count, task.max_retry_count) == (QUEUE, 0, 7)
            assert task.data == {"of": task.id}
            assert task.wake_at is not None
            assert task.started_at is not None
            assert LEASE_S - 5 < (task.wake_at - task.started_at).total_seconds() < LEASE_S + 5

    def test_what_is_not_as_it_was_seen_is_not_claimed_together(self, repository: TaskRepository) -> None:
        repository.record_pending([TaskMessage(name) for name in "abc"], [QUEUE] * 3)
        seen = [self.seen(repository, name) for name in "abc"]
        other = repository.claim(seen[1], owner=OTHER, lease_s=60, max_retry_count=0, crashed=False)
        assert other is not None
        assert repository.claim_together(seen, owner=ME, lease_s=LEASE_S, max_retry_count=7) is None
        assert self.seen(repository, "b").owner == OTHER

    def test_whoever_claims_one_of_a_group_later_has_it_alone(self, repository: TaskRepository) -> None:
        self.claim_together(repository, TaskMessage("a"))
        self.let_time_pass(LEASE_S + 60)
        seen = self.seen(repository, "a")
        assert seen.grouped
        taken = repository.claim(seen, owner=OTHER, lease_s=60, max_retry_count=0, crashed=False)
        assert taken is not None
        for task in (taken, self.seen(repository, "a")):
            assert (task.grouped, task.crash_count, task.attempt) == (False, 0, 2)
