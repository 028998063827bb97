from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from grid_async_task import bootstrap
from grid_async_task.cli.filters import duration
from grid_async_task.cli.options import Queue
from grid_async_task.cli.tools import Tools
from grid_async_task.domain.errors import ValidationError

STDIN = "-"

Message = Annotated[
    str | None, typer.Argument(metavar="[JSON]", help="The task message, a JSON object; - reads standard input.")
]
File = Annotated[Path | None, typer.Option("--file", help="Read the task message from this file.")]
SentId = Annotated[str | None, typer.Option("--task-id", help="The task's id; default: a new one.")]
SentType = Annotated[str | None, typer.Option("--task-type", help="Its category, for example pdf.")]
Data = Annotated[str | None, typer.Option("--data", help="Its input, a JSON object.")]
Retries = Annotated[int | None, typer.Option("--max-retry-count", help="Retries after a first failed attempt.")]
CallbackUrl = Annotated[str | None, typer.Option("--callback-url", help="Whom to tell how it ended.")]
CallbackType = Annotated[str | None, typer.Option("--callback-type", help="http, rabbitmq, or a sink of your own.")]
CallbackData = Annotated[str | None, typer.Option("--callback-data", help="Echoed in the callback, a JSON object.")]

Delay = Annotated[
    float | None,
    typer.Option(
        "--delay", parser=duration, metavar="TIME", help="Begin no sooner than in e.g. 90m.", show_default=False
    ),
]
Priority = Annotated[
    int | None, typer.Option("--priority", help="0 to 255, higher first; for a queue with x-max-priority.")
]


def add_to(app: typer.Typer) -> None:
    app.command("send", epilog="""Example: grid-async-task send --task-type pdf --data '{"path": "a.docx"}'""")(send)


def send(
    message: Message = None,
    file: File = None,
    task_id: SentId = None,
    task_type: SentType = None,
    data: Data = None,
    max_retry_count: Retries = None,
    callback_url: CallbackUrl = None,
    callback_type: CallbackType = None,
    callback_data: CallbackData = None,
    queue: Queue = None,
    delay: Delay = None,
    priority: Priority = None,
) -> None:
    """Send one task, and print its id.

    The message comes from the argument, a file or standard input, or is put together from options; options win
    over what the message says.
    """
    options = {
        "task_id": task_id,
        "task_type": task_type,
        "data": None if data is None else _object(data, "--data"),
        "max_retry_count": max_retry_count,
        "callback_url": callback_url,
        "callback_type": callback_type,
        "callback_data": None if callback_data is None else _object(callback_data, "--callback-data"),
    }
    given = {name: value for name, value in options.items() if value is not None}
    document = {**_message(message, file, is_needed=not given), **given}
    with Tools(queue) as tools:
        # with no database named, the task gets its row when a worker takes it
        record_pending = tools.settings.mysql_url is not None
        with bootstrap.create_producer(record_pending=record_pending, settings=tools.settings) as producer:
            typer.echo(producer.send_task(document, delay=delay, priority=priority))


def _message(argument: str | None, file: Path | None, *, is_needed: bool) -> dict[str, Any]:
    if argument is not None and file is not None:
        raise ValidationError("the message comes either from the argument or from --file, not from both")
    if file is not None:
        try:
            return _object(file.read_bytes(), str(file))
        except OSError as error:
            raise ValidationError(f"{file} can't be read: {error.strerror}") from error
    if argument == STDIN or (argument is None and is_needed and not sys.stdin.isatty()):
        return _object(sys.stdin.buffer.read(), "standard input")
    if argument is not None:
        return _object(argument, "the argument")
    if is_needed:
        raise ValidationError(
            "nothing to send: give a JSON object as argument, by --file, on standard input, or --data"
        )
    return {}


def _object(text: str | bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValidationError(f"{where} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValidationError(f'{where} has to be a JSON object, for example {{"path": "a.docx"}}')
    return value
