"""Doing the same with several tasks, named by their ids or by a filter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

import typer

from grid_async_task.application.pages import pages
from grid_async_task.application.refusal import Refused
from grid_async_task.cli.confirmation import confirm
from grid_async_task.cli.one_by_one import one_by_one
from grid_async_task.cli.output import shown
from grid_async_task.cli.tools import Tools
from grid_async_task.domain.errors import ValidationError
from grid_async_task.domain.task import Task
from grid_async_task.ports import TaskFilter

AnyTaskIds = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]...", help="Ids of tasks, or else a filter.", show_default=False)
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show which tasks, and how many.")]
All = Annotated[bool, typer.Option("--all", help="All of them, in place of a filter.")]


class Deed(Protocol):
    """What is done with each task."""

    #: as in "Shall 3 tasks be retried?"
    participle: str

    def refuse(self, task: Task) -> None:
        """Raise `Refused` where it can't be done."""
        ...

    def do(self, tools: Tools, task: Task) -> str | None:
        """What became of the task, in a word or two. None where it has changed and has to be looked at again."""
        ...


@dataclass(frozen=True)
class Choice:
    """Which tasks: some ids, or a filter."""

    ids: Sequence[str]
    wanted: TaskFilter
    #: whether the filter was left empty on purpose
    every: bool
    #: what the filter is when nobody has set anything
    anything: TaskFilter

    def check(self) -> None:
        """Raise `ValidationError` unless it is either ids or a filter."""
        is_filtered = self.wanted != self.anything
        if self.ids and (is_filtered or self.every):
            raise ValidationError("say which tasks either by their ids or by a filter, not by both")
        if not self.ids and is_filtered == self.every:
            raise ValidationError("say which tasks: by their ids, by a filter such as --type, or --all")

    def tasks(self, tools: Tools) -> Iterator[str]:
        """Their ids."""
        if self.ids:
            yield from self.ids
            return
        for page in pages(tools.repository, self.wanted):
            yield from (task.id for task in page)


def do_with(choice: Choice, deed: Deed, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    """A filter is asked about first. Exits with 1 if any of the tasks was refused."""
    choice.check()
    with Tools() as tools:

        def look(task_id: str) -> Task:
            task = tools.client.get_task(task_id)
            if task is None:
                raise Refused(f"there is no task {task_id!r}")
            deed.refuse(task)
            return task

        def do(task_id: str) -> str:
            while True:
                became = deed.do(tools, look(task_id))
                if became is not None:
                    return shown(f"{task_id}: {became}")

        if dry_run:
            one_by_one(
                choice.tasks(tools),
                lambda task_id: shown(f"{task_id}: {look(task_id).status.value}, would be {deed.participle}"),
                as_json=as_json,
                done="would_be_done",
                summary=lambda done, refused: f"{_tasks(done)} would be {deed.participle}, {refused} not",
            )
            return
        # what is asked about is what it is done with, however long the answer takes
        task_ids = list(choice.tasks(tools))
        if task_ids and not choice.ids:
            confirm(f"Shall {_tasks(len(task_ids))} be {deed.participle}?", yes)
        one_by_one(
            task_ids,
            do,
            as_json=as_json,
            summary=None if choice.ids else lambda done, refused: f"{_tasks(done)} {deed.participle}, {refused} not",
        )


def _tasks(count: int) -> str:
    return f"{count} task" if count == 1 else f"{count} tasks"
