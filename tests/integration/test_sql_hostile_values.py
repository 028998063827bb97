"""Values that would do something if they ever became part of a statement's text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from grid_async_task.adapters.sql import SqlTaskRepository
from grid_async_task.domain.failure import Failure
from grid_async_task.domain.message import CallbackRequest, TaskMessage
from grid_async_task.domain.outcome import Failed
from grid_async_task.domain.progress import Progress
from grid_async_task.domain.task import TaskStatus
from grid_async_task.ports.task_repository import TaskFilter

HOSTILE = [
    "'; DROP TABLE grid_async_task_tasks; --",
    "' OR '1'='1",
    "\\' OR 1=1 --",
    '"; DROP TABLE grid_async_task_tasks; --',
    "%s %(seen_id)s %%",
    ":seen_id ?",
    "`grid_async_task_tasks`",
    "/*!50000 DROP TABLE grid_async_task_tasks */",
    "{seen_id} ${seen_id}",
    "a\\",
]


@pytest.fixture(params=["mariadb", "sqlite"])
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlTaskRepository]:
    url = request.getfixturevalue("mysql_url") if request.param == "mariadb" else f"sqlite:///{tmp_path / 'tasks.db'}"
    repository = SqlTaskRepository(url)
    repository.prepare()
    yield repository
    repository.close()


def test_hostile_values_are_values_everywhere(repository: SqlTaskRepository) -> None:
    repository.record_pending([TaskMessage("bystander")], ["bystander"])
    for evil in HOSTILE:
        odd = {evil: evil}
        message = TaskMessage(evil, task_type=evil, data=odd, extra=odd, callback=CallbackRequest(evil, evil, odd))
        claim = repository.insert_claimed(message, queue=evil, owner=evil, lease_s=60, max_retry_count=0)
        assert claim is not None
        repository.renew(claim, lease_s=60, progress=Progress(1, evil), cancel_known=False)
        repository.save_checkpoint(claim, json.dumps(evil))
        assert repository.settle(claim, Failed(Failure(evil, evil)), Progress(2, evil))
        repository.record_pending([TaskMessage(f"{evil} 2", task_type=evil)], [evil])
        reading = repository.read(evil)
        assert reading is not None
        task = reading.task
        assert (task.id, task.task_type, task.queue, task.data, task.extra) == (evil, evil, evil, odd, odd)
        assert task.checkpoint == evil
        assert (task.callback, task.progress.message) == (message.callback, evil)
        assert task.failure is not None
        assert (task.failure.error_type, task.failure.message) == (evil, evil)
        taken = repository.take_callback(task, hold_s=60)
        assert taken is not None
        assert repository.win_sweep(evil, 30.0)
        # a filter that became part of the statement would find the bystander, or nothing
        for wanted in (TaskFilter(task_type=evil), TaskFilter(queue=evil)):
            assert {each.id for each in repository.list_tasks(wanted, 10)} == {evil, f"{evil} 2"}
    bystander = repository.read("bystander")
    assert bystander is not None
    assert (bystander.task.status, bystander.task.queue) == (TaskStatus.PENDING, "bystander")
    assert len(repository.list_tasks(TaskFilter(), 100)) == 1 + 2 * len(HOSTILE)
