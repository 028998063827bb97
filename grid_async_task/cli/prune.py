from __future__ import annotations

from typing import Annotated

import typer

from grid_async_task.application.pruning import DAY_S, count_prunable
from grid_async_task.application.pruning import prune as use_case
from grid_async_task.cli.confirmation import Yes, confirm
from grid_async_task.cli.filters import duration
from grid_async_task.cli.options import AsJson
from grid_async_task.cli.output import print_json
from grid_async_task.cli.tools import Tools
from grid_async_task.domain.errors import ValidationError
from grid_async_task.domain.task import TaskStatus

Age = Annotated[
    float, typer.Option("--older-than", parser=duration, metavar="AGE", help="Since they ended; at least 2d.")
]
OnlyFinal = Annotated[TaskStatus | None, typer.Option("--status", help="Only those that ended so: success or failed.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say how many.")]


def add_to(app: typer.Typer) -> None:
    app.command("prune", epilog="Example, once a day in a CronJob: grid-async-task prune --older-than 30d --yes")(prune)


def prune(
    older_than: Age = "30d",  # type: ignore[assignment] # typer parses a default that is a text
    status: OnlyFinal = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Delete tasks that ended long ago.

    A few hundred at a time, so that workers do not wait for it. One whose callback is still due is kept. Tells the
    number and asks first.
    """
    if status is not None and not status.is_final:
        raise ValidationError(f"what is {status.value} has not ended and is not deleted; see `cancel`")
    days = older_than / DAY_S
    with Tools() as tools:
        matching = count_prunable(tools.repository, days, status)
        if dry_run:
            _tell("would_be_deleted", matching, f"{matching} tasks would be deleted", as_json)
            return
        if matching:
            confirm(f"Shall {matching} tasks be deleted that ended more than {days:g} days ago?", yes)
        deleted = use_case(tools.repository, days, status)
        _tell("deleted", deleted, f"{deleted} tasks deleted", as_json)


def _tell(key: str, count: int, sentence: str, as_json: bool) -> None:
    if as_json:
        print_json({key: count})
    else:
        typer.echo(sentence)
