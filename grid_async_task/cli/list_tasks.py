from __future__ import annotations

from typing import Annotated

import typer

from grid_async_task.cli.filters import NewerThan, OlderThan, OnlyPrefix, OnlyType
from grid_async_task.cli.options import AnyQueue, AsJson, Limit
from grid_async_task.cli.output import print_json, print_table, row_of
from grid_async_task.cli.tools import Tools
from grid_async_task.domain.task import TaskStatus
from grid_async_task.ports import TaskFilter

OnlyStatuses = Annotated[
    list[TaskStatus] | None, typer.Option("--status", help="Only tasks in this state. May be repeated.")
]


def add_to(app: typer.Typer) -> None:
    app.command("list", epilog="Example: grid-async-task list --status failed --newer-than 2h")(list_tasks)


def list_tasks(
    status: OnlyStatuses = None,
    task_type: OnlyType = None,
    queue: AnyQueue = None,
    id_prefix: OnlyPrefix = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List tasks, the newest first."""
    wanted = TaskFilter(
        tuple(status or ()),
        task_type,
        queue,
        id_prefix=id_prefix,
        older_than_s=older_than,
        newer_than_s=newer_than,
    )
    with Tools() as tools:
        tasks = tools.repository.list_tasks(wanted, limit)
    if as_json:
        print_json([row_of(task) for task in tasks])
        return
    columns = ("ID", "TYPE", "STATUS", "PROGRESS", "ATTEMPT", "QUEUE", "CREATED", "ERROR")
    rows = (
        (
            task.id,
            task.task_type,
            task.status.value,
            f"{task.progress.percent}%",
            task.attempt,
            task.queue,
            task.created_at,
            task.failure and task.failure.error_type,
        )
        for task in tasks
    )
    print_table(columns, rows, if_none="no tasks")
