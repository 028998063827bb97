from __future__ import annotations

from typing import Annotated

import typer

from grid_async_task.cli.one_by_one import one_by_one
from grid_async_task.cli.options import AnyQueue, AsJson, Limit, TaskIds
from grid_async_task.cli.output import print_json, print_table, row_of
from grid_async_task.cli.tools import Tools
from grid_async_task.domain.task import CallbackStatus

group = typer.Typer(help="See callbacks that have not arrived, and have them sent again.", rich_markup_mode=None)

OnlyCallback = Annotated[
    CallbackStatus | None, typer.Option("--status", help="Only these; default: those due and those given up.")
]


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="callbacks", no_args_is_help=True)


@group.command("list", epilog="Example: grid-async-task callbacks list --status exhausted")
def list_callbacks(
    status: OnlyCallback = None, queue: AnyQueue = None, limit: Limit = 100, as_json: AsJson = False
) -> None:
    """List callbacks that have not arrived.

    One that is due is tried again by itself; one that is exhausted was given up.
    """
    wanted = (CallbackStatus.DUE, CallbackStatus.EXHAUSTED) if status is None else (status,)
    with Tools() as tools:
        tasks = [task for each in wanted for task in tools.callbacks.with_status(each, queue, limit)][:limit]
    if as_json:
        print_json([row_of(task) for task in tasks])
        return
    columns = ("ID", "STATUS", "CALLBACK", "TRIES", "NEXT TRY", "TYPE", "URL")
    rows = (
        (
            task.id,
            task.status.value,
            task.callback_status and task.callback_status.value,
            task.callback_attempts,
            task.wake_at,
            task.callback.type,
            row_of(task)["callback_url"],
        )
        for task in tasks
    )
    print_table(columns, rows, if_none="no callbacks")


@group.command("redeliver", epilog="Example: grid-async-task callbacks redeliver job-1")
def redeliver(task_ids: TaskIds, as_json: AsJson = False) -> None:
    """Have callbacks sent again.

    Under the ids that they had, so that a receiver can drop what it knows. Exits with 1 if any could not be.
    """
    with Tools() as tools:

        def redeliver_one(task_id: str) -> str:
            tools.callbacks.redeliver(task_id)
            return f"{task_id}: a worker sends its callback again"

        one_by_one(task_ids, redeliver_one, as_json=as_json)
