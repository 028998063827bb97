from __future__ import annotations

from typing import Annotated

import typer

from grid_async_task.application.refusal import Refused
from grid_async_task.cli.chosen_tasks import All, AnyTaskIds, Choice, DryRun, do_with
from grid_async_task.cli.confirmation import Yes
from grid_async_task.cli.filters import NewerThan, OlderThan, OnlyPrefix, OnlyType
from grid_async_task.cli.options import AnyQueue, AsJson
from grid_async_task.cli.tools import Tools
from grid_async_task.domain.errors import ValidationError
from grid_async_task.domain.task import Task, TaskStatus
from grid_async_task.ports import TaskFilter

OnlyUnfinished = Annotated[
    list[TaskStatus] | None,
    typer.Option("--status", help="Only tasks in this state: pending, running or retrying. May be repeated."),
]
UNFINISHED = tuple(status for status in TaskStatus if not status.is_final)


def add_to(app: typer.Typer) -> None:
    app.command("cancel", epilog="Example: grid-async-task cancel --type pdf --status pending --dry-run")(cancel)


def cancel(
    task_ids: AnyTaskIds = None,
    status: OnlyUnfinished = None,
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
    """Cancel tasks that have not ended.

    A waiting one fails at once, a running one is asked to stop. Those named by their ids, or all unfinished ones that
    a filter finds; of the latter it tells the number and asks first. Exits with 1 if any could not be cancelled.
    """
    if ended := [each.value for each in status or () if each.is_final]:
        raise ValidationError(f"what is {ended[0]} has ended and can't be cancelled")
    wanted = TaskFilter(
        tuple(status or UNFINISHED),
        task_type,
        queue,
        id_prefix=id_prefix,
        older_than_s=older_than,
        newer_than_s=newer_than,
    )
    choice = Choice(task_ids or (), wanted, every, TaskFilter(UNFINISHED))
    do_with(choice, _Cancel(), dry_run=dry_run, yes=yes, as_json=as_json)


class _Cancel:
    participle = "cancelled"

    def refuse(self, task: Task) -> None:
        if task.status.is_final:
            raise Refused(f"task {task.id!r} has ended already: {task.status.value}")

    def do(self, tools: Tools, task: Task) -> str | None:
        if not tools.client.cancel_task(task.id):
            return None
        left = tools.client.get_task(task.id)
        return "cancelled" if left is None or left.status.is_final else "asked to stop"
