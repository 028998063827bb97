"""Saying which tasks are meant, by what they have in common."""

from __future__ import annotations

from typing import Annotated

import typer

from grid_async_task.cli.durations import seconds_of
from grid_async_task.cli.options import some_text


def duration(text: str) -> float:
    """For an option; what is wrong with it is said as for any other."""
    try:
        return seconds_of(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


OnlyType = Annotated[
    str | None,
    typer.Option(
        "--type",
        "--task-type",
        parser=some_text,
        metavar="TEXT",
        help="Only tasks of this category.",
        show_default=False,
    ),
]
OnlyPrefix = Annotated[
    str | None,
    typer.Option("--id-prefix", parser=some_text, metavar="TEXT", help="Only ids that begin so.", show_default=False),
]
OlderThan = Annotated[
    float | None,
    typer.Option(
        "--older-than",
        parser=duration,
        metavar="AGE",
        help="Only tasks created longer ago, e.g. 2h.",
        show_default=False,
    ),
]
NewerThan = Annotated[
    float | None,
    typer.Option(
        "--newer-than", parser=duration, metavar="AGE", help="Only tasks created since, e.g. 90m.", show_default=False
    ),
]
