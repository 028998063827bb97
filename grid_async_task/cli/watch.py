from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import typer

from grid_async_task.application.client import Client
from grid_async_task.cli.options import TaskId
from grid_async_task.cli.output import shown
from grid_async_task.cli.status import ending, unknown
from grid_async_task.cli.tools import Tools
from grid_async_task.domain.task import Task, TaskStatus
from grid_async_task.ports import RepositoryUnavailable

#: seconds between two looks at the row
EVERY_S = 0.5


def add_to(app: typer.Typer) -> None:
    app.command("watch", epilog="Example: grid-async-task watch job-1 && echo done")(watch)


def watch(task_id: TaskId) -> None:
    """Follow a task until it has ended.

    By a progress bar on a terminal, else by a line for each change. Exits with 0 when the task has succeeded, with
    1 when it has failed or is unknown.
    """
    with Tools() as tools:
        task = tools.client.get_task(task_id)
        if task is None:
            raise unknown(task_id)
        states = _until_it_ends(tools.client, task)
        last = _show_bar(states) if sys.stdout.isatty() else _show_lines(states)
    typer.echo(ending(last))
    if last.status is not TaskStatus.SUCCESS:
        raise typer.Exit(1)


def _until_it_ends(client: Client, task: Task) -> Iterator[Task]:
    """The task each time somebody looks; a database that is away for a while is waited for."""
    is_away = False
    yield task
    while not task.status.is_final:
        time.sleep(EVERY_S)
        try:
            newest = client.get_task(task.id)
        except RepositoryUnavailable as error:
            if not is_away:
                typer.echo(f"waiting for the database: {error}", err=True)
            is_away = True
            continue
        is_away = False
        if newest is None:
            raise unknown(task.id)  # pruned meanwhile
        task = newest
        yield task


def _show_lines(states: Iterator[Task]) -> Task:
    before = ""
    for task in states:
        line = f"{task.status.value}\t{task.progress.percent}%\t{shown(task.progress.message)}"
        if line != before:
            typer.echo(line)
        before = line
    return task


def _show_bar(states: Iterator[Task]) -> Task:
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns) as progress:
        bar = progress.add_task("", total=100)
        for task in states:
            text = f"{task.status.value} {shown(task.progress.message)}".strip()
            progress.update(bar, completed=task.progress.percent, description=text)
    return task
