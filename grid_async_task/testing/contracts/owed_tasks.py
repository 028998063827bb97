"""What a `TaskRepository` must do that takes part in an application's transaction, beside `TaskRepositoryContract`.

All others inherit an `insert_owed` that raises.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, suppress
from datetime import timedelta
from typing import Any

import pytest

from grid_async_task.domain.message import TaskMessage
from grid_async_task.domain.task import Task
from grid_async_task.ports.task_repository import TaskRepository
from grid_async_task.testing.contracts.task_repository.steps import HTTP, QUEUE, RepositorySteps, assert_same

HOUR_S = 3600.0


class Undone(Exception):
    """The application changes its mind."""


class OwedTasksContract(RepositorySteps):
    """Tests of `insert_owed`, and of what the sweep finds afterwards."""

    def transaction(self) -> AbstractContextManager[Any]:
        """A transaction of an application's own: committed at the end of the block, rolled back where that raises."""
        raise NotImplementedError

    def enqueue(self, repository: TaskRepository, message: TaskMessage, delay_s: float) -> None:
        with self.transaction() as within:
            repository.insert_owed(message, QUEUE, delay_s, within, lambda: None)

    @pytest.mark.parametrize("delay_s", [0.0, HOUR_S])
    def test_a_message_is_owed_from_its_time_on(self, repository: TaskRepository, delay_s: float) -> None:
        message = TaskMessage("task-1", "pdf", {"a": 1}, 3, HTTP, {"x": [1]})
        told: list[str] = []
        with self.transaction() as within:
            repository.insert_owed(message, QUEUE, delay_s, within, lambda: told.append("committing"))
            assert told == []
        assert told == ["committing"]
        reading = self.read(repository)
        due = reading.now + timedelta(seconds=delay_s)
        assert_same(reading.task, Task.pending(message, QUEUE, reading.now, due))
        if delay_s:
            self.let_time_pass(delay_s - 30)
            assert self.overdue(repository) == []
        self.let_time_pass(60)
        assert self.overdue(repository) == ["task-1"]

    def test_a_message_that_waits_is_owed_again_long_after_its_time(self, repository: TaskRepository) -> None:
        self.enqueue(repository, TaskMessage("task-1"), HOUR_S)
        row = self.read(repository).task
        assert repository.mark_delayed(row)
        assert self.read(repository).task == row
        self.let_time_pass(HOUR_S + 600)
        assert self.overdue(repository) == []
        self.let_time_pass(600)
        assert self.overdue(repository) == ["task-1"]

    def test_what_is_rolled_back_has_no_row(self, repository: TaskRepository) -> None:
        told: list[str] = []
        with suppress(Undone), self.transaction() as within:
            repository.insert_owed(TaskMessage("task-1"), QUEUE, HOUR_S, within, lambda: told.append("committing"))
            raise Undone
        assert repository.read("task-1") is None
        assert told == []

    @pytest.mark.parametrize("delay_s", [0.0, HOUR_S])
    def test_an_existing_row_is_left_as_it_is(self, repository: TaskRepository, delay_s: float) -> None:
        repository.record_delayed(TaskMessage("task-1", data={"a": 1}), QUEUE, 60)
        row = self.read(repository).task
        self.enqueue(repository, TaskMessage("task-1", data={"b": 2}), delay_s)
        assert self.read(repository).task == row
        self.let_time_pass(120)
        assert self.overdue(repository) == []
