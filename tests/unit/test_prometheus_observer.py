"""What one worker's metrics say of a task before it has ended, and of one that was meant to wait."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from grid_async_task.adapters.prometheus import PrometheusObserver
from grid_async_task.application.due_time import DUE_HEADER
from grid_async_task.domain.message import TaskMessage
from grid_async_task.domain.task import Task
from grid_async_task.ports import OUTCOME_WORDS

CREATED = datetime(2024, 1, 15, 10, 30, tzinfo=timezone.utc)
TASK = replace(
    Task.pending(TaskMessage("t", "pdf"), "q", CREATED), attempt=1, started_at=CREATED + timedelta(seconds=90)
)


def test_each_outcome_begins_at_zero_when_a_task_of_its_type_begins() -> None:
    observer = PrometheusObserver("q", 1)
    with observer.attempt(TASK, {}):
        for word in OUTCOME_WORDS:
            labels = {"queue": "q", "task_type": "pdf", "outcome": word}
            assert observer.registry.get_sample_value("grid_async_task_tasks_total", labels) == 0


@pytest.mark.parametrize(("headers", "waited_s"), [({}, 90), ({DUE_HEADER: "2024-01-15T10:31:00Z"}, None)])
def test_a_task_that_was_sent_for_later_has_waited_for_its_time(
    headers: dict[str, str], waited_s: float | None
) -> None:
    observer = PrometheusObserver("q", 1)
    with observer.attempt(TASK, headers):
        labels = {"queue": "q", "task_type": "pdf"}
        assert observer.registry.get_sample_value("grid_async_task_wait_seconds_sum", labels) == waited_s


@pytest.mark.parametrize("grouped", [False, True])
def test_what_a_lost_group_leaves_behind_is_counted_apart(grouped: bool) -> None:
    observer = PrometheusObserver("q", 1)
    observer.taken_over(replace(TASK, grouped=grouped))
    counted = {
        label: observer.registry.get_sample_value("grid_async_task_takeovers_total", {"queue": "q", "grouped": label})
        for label in ("false", "true")
    }
    assert counted == {"false": not grouped, "true": grouped}
