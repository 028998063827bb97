from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from grid_async_task.application.dead_letter_desk import DeadLetter
from grid_async_task.cli.confirmation import Yes, confirm
from grid_async_task.cli.one_by_one import one_by_one
from grid_async_task.cli.options import AsJson, Queue
from grid_async_task.cli.output import print_json, print_table, shown
from grid_async_task.cli.tools import Tools
from grid_async_task.domain.errors import ValidationError

group = typer.Typer(help="See messages that could not be tasks, and send them once more.", rich_markup_mode=None)

Among = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="Look at the oldest so many.")]
Which = Annotated[str, typer.Argument(metavar="KEY", help="A key of `dead list`, or a task id.", show_default=False)]
WhichOnes = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY]...", help="Keys of `dead list`, or task ids.", show_default=False)
]
All = Annotated[bool, typer.Option("--all", help="All of them.")]


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="dead", no_args_is_help=True)


@group.command("list", epilog="Example: grid-async-task dead list --queue task_queue")
def list_dead(queue: Queue = None, limit: Among = 100, as_json: AsJson = False) -> None:
    """List the dead letters of a queue, the oldest first.

    They stay where they are.
    """
    with Tools(queue) as tools, tools.dead_letters(limit) as desk:
        letters = desk.look(limit)
        if as_json:
            print_json([_as_dict(letter) for letter in letters])
            return
        columns = ("KEY", "TASK", "REASON", "DEAD SINCE", "ERROR")
        rows = (
            (letter.key, letter.task_id, letter.header("reason"), letter.header("dead-at"), letter.header("error"))
            for letter in letters
        )
        print_table(columns, rows, if_none=f"no dead letters of {tools.queue}")


@group.command("show", epilog="Example: grid-async-task dead show 3f1c2a9b7e")
def show(which: Which, queue: Queue = None, limit: Among = 1000, as_json: AsJson = False) -> None:
    """Show one dead letter in full.

    Why it died, its headers, properties and body. It stays where it is.
    """
    with Tools(queue) as tools, tools.dead_letters(limit) as desk:
        letters = _chosen(desk.look(limit), [which])
        if as_json:
            print_json([_as_dict(letter) for letter in letters])
            return
        for letter in letters:
            for name, value in _as_dict(letter).items():
                typer.echo(f"{name + ':':<12} {shown(value)}")


@group.command("replay", epilog="Example: grid-async-task dead replay 3f1c2a9b7e")
def replay(
    which: WhichOnes = None, every: All = False, queue: Queue = None, limit: Among = 1000, as_json: AsJson = False
) -> None:
    """Send dead letters to the work queue once more.

    As they came: after a limit was raised, or a callback sink registered. Where the message made its task `failed`
    by dying, that is undone. Refused where its task has ended otherwise.
    """
    _check(which, every)
    with Tools(queue) as tools, tools.dead_letters(limit) as desk:
        letters = _chosen(desk.look(limit), which, every)

        def replay_one(letter: DeadLetter) -> str:
            complaint = desk.replay(letter)
            note = "" if complaint is None else f"; it will most likely die again: {complaint}"
            return shown(f"{letter.key}: sent to {tools.queue}{note}")

        one_by_one(letters, replay_one, id_of=_key_of, as_json=as_json)


@group.command("drop", epilog="Example: grid-async-task dead drop 3f1c2a9b7e")
def drop(
    which: WhichOnes = None,
    every: All = False,
    queue: Queue = None,
    limit: Among = 1000,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Delete dead letters for good.

    Tells the number and asks first. The row of a task that its message made `failed` stays.
    """
    _check(which, every)
    with Tools(queue) as tools, tools.dead_letters(limit) as desk:
        letters = _chosen(desk.look(limit), which, every)
        if letters:
            what = f"the dead letter {letters[0].key}" if len(letters) == 1 else f"{len(letters)} dead letters"
            confirm(f"Shall {what} of {tools.queue} be deleted for good?", yes)

        def drop_one(letter: DeadLetter) -> str:
            desk.drop(letter)
            return f"{letter.key}: deleted"

        one_by_one(letters, drop_one, id_of=_key_of, as_json=as_json)


def _check(which: Sequence[str] | None, every: bool) -> None:
    if bool(which) == every:
        raise ValidationError("say which dead letters: their keys or task ids, or --all")


def _key_of(letter: DeadLetter) -> str:
    return letter.key


def _chosen(letters: list[DeadLetter], names: Sequence[str] | None, every: bool = False) -> list[DeadLetter]:
    if every or names is None:
        return letters
    known = {letter.key for letter in letters} | {letter.task_id for letter in letters}
    if unknown := [name for name in names if name not in known]:
        raise ValidationError(
            f"no dead letter is named {', '.join(map(repr, unknown))}; see `dead list`, and --limit for a long queue"
        )
    return [letter for letter in letters if letter.key in names or letter.task_id in names]


def _as_dict(letter: DeadLetter) -> dict[str, Any]:
    delivery = letter.delivery
    return {
        "key": letter.key,
        "task_id": letter.task_id,
        **{name.replace("-", "_"): letter.header(name) for name in ("reason", "error", "queue", "worker", "dead-at")},
        "headers": {name: str(value) for name, value in delivery.headers.items() if not name.startswith("x-grid-")},
        "properties": {name: str(value) for name, value in delivery.properties.items()},
        "bytes": len(delivery.body),
        "body": delivery.body.decode("utf-8", "backslashreplace"),
    }
