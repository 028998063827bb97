"""Asking before something is done that can't be undone."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from grid_async_task.application.refusal import Refused

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def confirm(question: str, yes: bool) -> None:
    """Returns if the answer is yes, given beforehand or now. Raises `Refused` where nobody can be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Refused(f"{question} Nobody can be asked without a terminal: say --yes, or see first by --dry-run")
    # on standard error: what is printed stays an answer for programs
    typer.confirm(question, abort=True, err=True)
