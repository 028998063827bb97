from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import typer

from grid_async_task.adapter_choice import open_recurring
from grid_async_task.cli.handler_loading import find_handler
from grid_async_task.cli.inspectors import inspectors
from grid_async_task.cli.options import AsJson, Queue
from grid_async_task.cli.output import print_json, shown
from grid_async_task.cli.tools import Tools
from grid_async_task.domain.errors import ConfigurationError
from grid_async_task.ports import Finding, Level
from grid_async_task.settings import Settings

_COLOURS = {Level.OK: "green", Level.WARNING: "yellow", Level.ERROR: "red"}


def add_to(app: typer.Typer) -> None:
    app.command("check", epilog="Example: grid-async-task check --json")(check)


def check(queue: Queue = None, as_json: AsJson = False) -> None:
    """See whether all is well, and say what to do.

    Looks at broker, queues, rights, database, table, clocks, time zone, handler and settings. Changes nothing. Exits
    with 1 if there is an error, with 2 if settings are missing.
    """
    with Tools(queue) as tools:
        tools.settings.require("amqp_url", "rabbitmq_queue", "mysql_url")
        findings = [finding for inspector in inspectors(tools.settings) for finding in inspector.inspect()]
        findings += _of_the_worker(tools.settings)
    if as_json:
        print_json([{**vars(finding), "level": finding.level.value} for finding in findings])
    else:
        _print(findings)
    if any(finding.level is Level.ERROR for finding in findings):
        raise typer.Exit(1)


def _of_the_worker(settings: Settings) -> Iterator[Finding]:
    if settings.handler is not None:
        try:
            find_handler(settings.handler)
        except ConfigurationError as error:
            yield Finding(Level.ERROR, "handler", str(error).split("; ")[0], str(error).split("; ", 1)[-1])
        except (Exception, SystemExit) as error:
            text = f"importing {settings.handler} fails: {type(error).__name__}: {error}"
            yield Finding(Level.ERROR, "handler", text, "run it by python -c, and mend it")
        else:
            yield Finding(Level.OK, "handler", f"{settings.handler} can be imported")
    if settings.recurring is not None:
        try:
            tasks = open_recurring(settings)
        except ConfigurationError as error:
            yield Finding(Level.ERROR, "recurring", str(error), "see docs/enqueue.md for what it holds")
        else:
            yield Finding(Level.OK, "recurring", f"{settings.recurring} has {len(tasks)} recurring tasks")
    log_dir = Path(settings.log_dir)
    nearest = next(folder for folder in (log_dir.absolute(), *log_dir.absolute().parents) if folder.exists())
    if not (nearest.is_dir() and os.access(nearest, os.W_OK)):
        text = f"{log_dir} can't be written: there will be no log files"
        yield Finding(Level.WARNING, "logs", text, "set GRID_ASYNC_TASK_LOG_DIR to a folder that this user may write")


def _print(findings: list[Finding]) -> None:
    for finding in findings:
        # colours vanish by themselves where there is no terminal
        level = typer.style(f"{finding.level.value:<8}", fg=_COLOURS[finding.level])
        typer.echo(f"{level} {finding.subject}: {shown(finding.text)}")
        if finding.advice:
            typer.echo(f"{'':<8} -> {shown(finding.advice)}")
    count = {level: sum(finding.level is level for finding in findings) for level in Level}
    typer.echo(f"{count[Level.ERROR]} errors, {count[Level.WARNING]} warnings")
