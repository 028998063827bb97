from __future__ import annotations

import typer

from grid_async_task.application.sweep import EVERY_S
from grid_async_task.cli.options import AsJson, Queue
from grid_async_task.cli.output import print_json
from grid_async_task.cli.tools import Tools


def add_to(app: typer.Typer) -> None:
    app.command("sweep", epilog="Example, every few minutes in a CronJob: grid-async-task sweep")(sweep)


def sweep(queue: Queue = None, as_json: AsJson = False) -> None:
    """Look once for tasks whose message was lost.

    And for callbacks; the message is published again. Workers do so by themselves; this is for a queue that has
    none for hours. One sweep a queue and 30 seconds.
    """
    with Tools(queue) as tools:
        is_due = tools.repository.win_sweep(tools.queue, EVERY_S)
        published = tools.sweep.sweep() if is_due else 0
    if as_json:
        print_json({"queue": tools.queue, "swept": is_due, "published": published})
    elif is_due:
        typer.echo(f"{published} messages published to {tools.queue}")
    else:
        typer.echo(f"{tools.queue} was swept within the last {EVERY_S:.0f} s")
