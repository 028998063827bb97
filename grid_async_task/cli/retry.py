from __future__ import annotations

import typer

from grid_async_task.application.refusal import Refused
from grid_async_task.cli.chosen_tasks import All, AnyTaskIds, Choice, DryRun, do_with
from grid_async_task.cli.confirmation import Yes
from grid_async_task.cli.filters import NewerThan, OlderThan, OnlyPrefix, OnlyType
from grid_async_task.cli.options import AnyQueue, AsJson
from grid_async_task.cli.tools import Tools
from grid_async_task.domain.task import Task, TaskStatus
from grid_async_task.ports import TaskFilter

FAILED = (TaskStatus.FAILED,)


def add_to(app: typer.Typer) -> None:
    app.command("retry", epilog="Example: grid-async-task retry --type pdf --newer-than 2h --dry-run")(retry)


def retry(
    task_ids: AnyTaskIds = None,
    task_type: OnlyType = None,
    queue: AnyQueue = None,
    id_prefix: OnlyPrefix = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    every: All = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Run failed tasks once more, with all their retries.

    Those named by their ids, or all failed ones that a filter finds; of the latter it tells the number and asks
    first. Exits with 1 if any could not be retried.
    """
    wanted = TaskFilter(FAILED, task_type, queue, id_prefix=id_prefix, older_than_s=older_than, newer_than_s=newer_than)
    do_with(
        Choice(task_ids or (), wanted, every, TaskFilter(FAILED)), _Retry(), dry_run=dry_run, yes=yes, as_json=as_json
    )


class _Retry:
    participle = "retried"

    def refuse(self, task: Task) -> None:
        if task.status is not TaskStatus.FAILED:
            raise Refused(f"task {task.id!r} is {task.status.value}; only what has failed can be retried")
        if task.wake_at is not None:
            raise Refused(f"the callback of task {task.id!r} is still due; retry it once that is sent or given up")

    def do(self, tools: Tools, task: Task) -> str | None:
        return "pending" if tools.client.retry_task(task.id) else None
