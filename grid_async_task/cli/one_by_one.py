"""Doing something with several things, each for itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import typer

from grid_async_task.cli.output import print_json
from grid_async_task.domain.errors import ConfigurationError, ConnectionError, GridAsyncTaskError

T = TypeVar("T")


def one_by_one(
    things: Iterable[T],
    act: Callable[[T], str],
    *,
    id_of: Callable[[T], str] = str,
    as_json: bool = False,
    done: str = "done",
    summary: Callable[[int, int], str] | None = None,
) -> None:
    """Print what became of each; what is refused keeps none of the others from it, and makes the exit code 1.

    A server that is away ends it, after what was done so far.

    `done` is the key under which JSON says yes or no. `summary` is the last line for people, from how many were
    done and how many refused.
    """
    said: list[dict[str, Any]] = []
    count = {True: 0, False: 0}
    try:
        for thing in things:
            try:
                text, is_done = act(thing), True
            except (ConnectionError, ConfigurationError):  # nor would it be done with the rest
                raise
            except GridAsyncTaskError as error:
                text, is_done = str(error), False
            count[is_done] += 1
            if as_json:
                said.append({"id": id_of(thing), done: is_done, "text": text})
            elif is_done:
                typer.echo(text)
            else:
                typer.echo(f"Not done: {text}", err=True)
    finally:
        if as_json:
            print_json(said)
    if not as_json and summary is not None:
        typer.echo(summary(count[True], count[False]))
    if count[False]:
        raise typer.Exit(1)
