"""What many commands can be told."""

from __future__ import annotations

from typing import Annotated

import typer


def some_text(text: str) -> str:
    """For an option: an empty one, of a variable that is not set, would mean everything, or the default."""
    if not text:
        raise typer.BadParameter("it is empty; leave the option out, or give it a value")
    return text


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Queue = Annotated[
    str | None,
    typer.Option(
        "--queue",
        parser=some_text,
        metavar="TEXT",
        help="The queue; default: GRID_ASYNC_TASK_QUEUE.",
        show_default=False,
    ),
]
AnyQueue = Annotated[
    str | None,
    typer.Option(
        "--queue",
        parser=some_text,
        metavar="TEXT",
        help="Only tasks of this queue; default: all queues.",
        show_default=False,
    ),
]
Limit = Annotated[int, typer.Option("--limit", min=1, help="At most so many.")]
TaskId = Annotated[str, typer.Argument(metavar="ID", help="The id of the task.", show_default=False)]
TaskIds = Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of tasks.", show_default=False)]
