from __future__ import annotations

import typer

from grid_async_task.cli.options import AsJson, TaskId
from grid_async_task.cli.output import print_json, row_of, shown
from grid_async_task.cli.tools import Tools
from grid_async_task.domain.errors import ValidationError
from grid_async_task.domain.json_text import to_json
from grid_async_task.domain.task import Task


def add_to(app: typer.Typer) -> None:
    app.command("status", epilog="Example: grid-async-task status job-1")(status)


def status(task_id: TaskId, as_json: AsJson = False) -> None:
    """Show how far a task is.

    And all else that is known of it. Exits with 1 for an unknown id.
    """
    with Tools() as tools:
        task = tools.client.get_task(task_id)
    if task is None:
        raise unknown(task_id)
    everything = {**task.progress_to_wire(), **row_of(task)}
    if as_json:
        print_json(everything)
        return
    for name, value in everything.items():
        if value not in (None, "", {}):
            typer.echo(f"{name + ':':<18} {shown(to_json(value) if isinstance(value, dict) else value)}")


def unknown(task_id: str) -> ValidationError:
    return ValidationError(
        f"there is no task {task_id!r}; a task that was only just sent may get its row a little later,"
        " and `prune` deletes old ones"
    )


def ending(task: Task) -> str:
    """How a task stands, in a few words."""
    if task.failure is not None:
        return shown(f"{task.status.value} ({task.failure.error_type}: {task.failure.message})")
    return task.status.value
