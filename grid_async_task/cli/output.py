"""How answers are printed: JSON for programs, a table for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import typer

from grid_async_task.domain.task import Task
from grid_async_task.domain.wire_time import to_wire
from grid_async_task.settings.masking import mask_url


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


def row_of(task: Task) -> dict[str, Any]:
    """The row as it is shown: a password that stands in the callback's URL is its receiver's business."""
    row, url = task.to_dict(), task.callback.url or ""
    return {**row, "callback_url": mask_url(url)} if "@" in url or "=" in url else row


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, if_none: str) -> None:
    """On a terminal a table; elsewhere one line a row, its fields separated by tabs, below the names."""
    cells = [[shown(value) for value in row] for row in rows]
    if not cells:
        typer.echo(if_none, err=True)
    elif sys.stdout.isatty():
        _print_rich_table(columns, cells)
    else:
        for line in (columns, *cells):
            typer.echo("\t".join(line))


def shown(value: object) -> str:
    """One line that can't do anything to a terminal."""
    if value is None:
        return ""
    text = to_wire(value) if isinstance(value, datetime) else str(value)
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _print_rich_table(columns: Sequence[str], cells: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold")
    for column in columns:
        # folded, never cut off: an id that is shown can be copied
        table.add_column(column, overflow="fold")
    for row in cells:
        table.add_row(*map(Text, row))
    Console().print(table)
