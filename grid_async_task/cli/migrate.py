from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from grid_async_task import adapter_choice
from grid_async_task.application.dead_letters import SUFFIX
from grid_async_task.application.refusal import Refused
from grid_async_task.cli.inspectors import inspectors, of_the_database
from grid_async_task.cli.options import AsJson, Queue
from grid_async_task.cli.output import print_json, print_table
from grid_async_task.cli.tools import Tools
from grid_async_task.domain.errors import ConfigurationError
from grid_async_task.domain.task import TaskStatus
from grid_async_task.settings import Settings

if TYPE_CHECKING:
    from grid_async_task.adapters.sql.from_reference import Copied

Print = Annotated[
    bool,
    typer.Option(
        "--print", help="Only print the queues, for an administrator: rabbitmqctl import_definitions FILE takes it."
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would be made.")]
Sql = Annotated[
    bool,
    typer.Option(
        "--sql",
        help="Only print the statements that the table still needs, in the words of this very server, for an"
        " administrator.",
    ),
]
FromReference = Annotated[
    bool,
    typer.Option(
        "--from-reference",
        help="Only copy the rows of a table that version 1.x has made into the new layout; the old table is kept as"
        " NAME_v1. Stop the workers and producers of version 1.x before. Their tasks get the queue given here.",
    ),
]


def add_to(app: typer.Typer) -> None:
    app.command("migrate", epilog="Example: grid-async-task migrate --queue task_queue")(migrate)


def migrate(
    queue: Queue = None,
    print_only: Print = False,
    dry_run: DryRun = False,
    sql: Sql = False,
    from_reference: FromReference = False,
    as_json: AsJson = False,
) -> None:
    """Make the table and the queues.

    That is the table of tasks, the work queue, its dead letter queue and the delay queues that all queues share.
    For a deployment's first step, since KEDA fails on a missing queue. What exists is left as it is, so it may be
    run at every deployment. Needs the rights to create tables, queues and exchanges; says so where they are
    missing.
    """
    if sum((print_only, dry_run, sql, from_reference)) > 1:
        raise Refused(
            "--print is about queues, --sql and --from-reference about the table, --dry-run about all: one at a time"
        )
    with Tools(queue) as tools:
        if sql:
            _print_statements(tools.settings, as_json)
            return
        if from_reference:
            _copy_from_reference(tools, as_json)
            return
        tools.settings.require("amqp_url", "rabbitmq_queue", *([] if print_only else ["mysql_url"]))
        queues = (tools.queue, tools.queue + SUFFIX)
        if print_only:
            _print_definitions(tools.settings, queues)
            return
        if dry_run:
            _print_missing(tools.settings, as_json)
            return
        tools.repository.prepare()
        if not as_json:
            typer.echo(f"table {tools.settings.table} is up to date")
        for name in queues:
            tools.publisher.declare(name)
            if not as_json:
                typer.echo(f"queue {name} exists")
    if as_json:
        print_json({"table": tools.settings.table, "queues": queues})


def _print_missing(settings: Settings, as_json: bool) -> None:
    missing = [each for inspector in inspectors(settings) for each in inspector.missing()]
    if as_json:
        print_json({"would_make": [vars(each) for each in missing]})
    elif missing:
        for each in missing:
            typer.echo(f"would make: {each.kind} {each.name}")
    else:
        typer.echo("nothing to do: table and queues are there, and up to date")


def _print_statements(settings: Settings, as_json: bool) -> None:
    settings.require("mysql_url")
    inspector = of_the_database(settings)
    pending = [] if inspector is None else inspector.pending()
    if as_json:
        print_json([vars(each) for each in pending])
    elif pending:
        for each in pending:
            typer.echo(f"-- migration {each.revision}: {each.title}\n\n{each.statements}\n")
    else:
        typer.echo(f"-- table {settings.table} is up to date: nothing to run")


def _print_definitions(settings: Settings, queues: tuple[str, str]) -> None:
    from grid_async_task.adapters.rabbitmq.definitions import definitions

    url = str(settings.amqp_url)
    if not url.startswith("amqp"):
        raise Refused("the embedded mode needs no administrator: run migrate without --print")
    print_json(definitions(url, queues, settings.queue_type))


def _copy_from_reference(tools: Tools, as_json: bool) -> None:
    from grid_async_task.adapters.sql import SqlTaskRepository

    tools.settings.require("rabbitmq_queue", "mysql_url")
    repository = adapter_choice.open_repository(tools.settings)
    try:
        if not isinstance(repository, SqlTaskRepository):
            raise ConfigurationError("MYSQL_URL names no database: there is nothing to copy")
        copied = repository.copy_from_reference(tools.queue)
    finally:
        repository.close()
    if as_json:
        print_json(_as_dict(copied, tools))
    else:
        _print(copied, tools)


def _as_dict(copied: Copied, tools: Tools) -> dict[str, object]:
    return {
        "table": tools.settings.table,
        "old_table": copied.old_table,
        "queue": tools.queue,
        "was_done": copied.was_done,
        "copied": {status.value: copied.by_status[status.value] for status in TaskStatus},
        "left_behind": [vars(row) for row in copied.left_behind],
    }


def _print(copied: Copied, tools: Tools) -> None:
    table = tools.settings.table
    if copied.was_done:
        typer.echo(f"table {table} has the new layout: nothing to copy")
        return
    typer.echo(f"table {table} has {copied.by_status.total()} tasks of version 1.x; the old one is {copied.old_table}")
    for status in TaskStatus:
        typer.echo(f"{status.value}: {copied.by_status[status.value]}")
    if copied.left_behind:
        typer.echo(f"{len(copied.left_behind)} rows do not fit and are in {copied.old_table} only:")
        rows = ((row.id, row.task_id, row.reason) for row in copied.left_behind)
        print_table(("ROW", "TASK ID", "REASON"), rows, if_none="")
    waiting = sum(copied.by_status[status.value] for status in TaskStatus if not status.is_final)
    if waiting:
        typer.echo(
            f"{waiting} tasks are pending now and start when their message comes. For those whose message is lost,"
            f" once no worker of version 1.x runs: grid-async-task requeue --queue {tools.queue}"
        )
