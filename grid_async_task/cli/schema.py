from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from grid_async_task.domain.errors import ConfigurationError
from grid_async_task.protocol import DOCUMENTS


class Name(str, Enum):
    """Which document."""

    MESSAGE = "message"
    CALLBACK = "callback"
    PROGRESS = "progress"
    ASYNCAPI = "asyncapi"


Which = Annotated[Name | None, typer.Argument(help="Default: asyncapi, which holds the others; with --write all.")]
Write = Annotated[Path | None, typer.Option("--write", metavar="DIR", help="Write files there instead of printing.")]


def add_to(app: typer.Typer) -> None:
    app.command("schema", epilog="Example: grid-async-task schema message")(schema)


def schema(which: Which = None, write: Write = None) -> None:
    """Print the protocol for programs in other languages.

    JSON Schemas (draft 7) of a task's message, its callback and its progress, and an AsyncAPI 3.0 document.
    """
    if write is None:
        typer.echo(DOCUMENTS[(which or Name.ASYNCAPI).value].text, nl=False)
        return
    try:
        write.mkdir(parents=True, exist_ok=True)
        for document in [DOCUMENTS[which.value]] if which else DOCUMENTS.values():
            (write / document.file_name).write_text(document.text, encoding="utf-8", newline="\n")
            typer.echo(write / document.file_name)
    except OSError as error:
        raise ConfigurationError(f"{write} can't be written: {error.strerror}") from error
