from __future__ import annotations

import typer

from grid_async_task.application import requeue as use_case
from grid_async_task.cli.options import AsJson, Queue
from grid_async_task.cli.output import print_json
from grid_async_task.cli.tools import Tools


def add_to(app: typer.Typer) -> None:
    app.command("requeue", epilog="Example: grid-async-task requeue --queue task_queue")(requeue)


def requeue(queue: Queue = None, as_json: AsJson = False) -> None:
    """Publish all waiting tasks of a queue once more.

    For a queue that was purged or deleted: the table knows which tasks wait. A message too many does no harm: a
    task is not run twice for it.
    """
    with Tools(queue) as tools:
        count = use_case.requeue(tools.repository, tools.publisher, tools.queue)
    if as_json:
        print_json({"queue": tools.queue, "published": count})
    else:
        typer.echo(f"{count} tasks published to {tools.queue}")
