"""What the tests of a `TaskRepository` begin with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from threading import Barrier
from typing import Any

import pytest

from grid_async_task.domain.failure import Failure
from grid_async_task.domain.message import CallbackRequest, TaskMessage
from grid_async_task.domain.outcome import Crashed, Failed, HandedBack, Outcome, RetryLater, Snoozed, Succeeded
from grid_async_task.domain.task import Task
from grid_async_task.ports.errors import RepositoryUnavailable
from grid_async_task.ports.task_repository import Reading, TaskRepository

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


def earlier(moment: datetime | None) -> datetime:
    assert moment is not None
    return moment - timedelta(seconds=1)


def ids_of(tasks: Iterable[Task]) -> set[str]:
    return {task.id for task in tasks}


def at_once(step: Any, threads: int = 8) -> list[Any]:
    """What the step gave to each of several threads that begin it together, without the Nones."""
    barrier = Barrier(threads)

    def run(number: int) -> Any:
        barrier.wait(timeout=30)
        while True:
            with suppress(RepositoryUnavailable):  # it let nobody wait any longer for the others' locks
                return step(f"worker-{number}")

    with ThreadPoolExecutor(threads) as pool:
        return [answer for answer in pool.map(run, range(threads)) if answer is not None]


class RepositorySteps:
    """The two members that are overridden, and steps that many tests begin with."""

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

    def due(self, repository: TaskRepository) -> Task:
        return self.finished(repository, a_message(callback=HTTP), Succeeded({"r": 1}))

    def overdue(self, repository: TaskRepository, limit: int = 100) -> list[str]:
        return [task.id for task in repository.overdue(QUEUE, lost_after_s=900, limit=limit)]
