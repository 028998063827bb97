"""While it happens: bars that move on a terminal, lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from grid_async_task import Task
from grid_async_task.demo.history import Entry

STYLES = {"pending": "dim", "running": "cyan", "retrying": "yellow", "success": "green", "failed": "red"}


class Screen(Protocol):
    def show(self, task: Task, news: Entry | None) -> None:
        """How far the task is now, and what is new since the last time."""

    def tell(self, entry: Entry) -> None:
        """Something that was done to a task."""


@contextmanager
def screen_for(console: Console) -> Iterator[Screen]:
    """What suits the console, while the context is entered."""
    if not console.is_interactive:
        yield Lines(console)
        return
    columns = (
        TextColumn("{task.description:<17}"),
        BarColumn(bar_width=20),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[state]}"),
    )
    with Progress(*columns, console=console) as progress:
        yield Bars(progress)


class Bars:
    """A bar for each task."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bars: dict[str, TaskID] = {}

    def show(self, task: Task, news: Entry | None) -> None:
        if task.id not in self._bars:
            self._bars[task.id] = self._progress.add_task(task.id, total=100, state="")
        status = task.status.value
        state = f"[{STYLES[status]}]{status:<8}[/] {escape(task.progress.message)}"
        self._progress.update(self._bars[task.id], completed=task.progress.percent, state=state)

    def tell(self, entry: Entry) -> None:
        self._progress.console.print(str(entry), markup=False, highlight=False)


class Lines:
    """A line for each change of state, and for each quarter that a task has come further."""

    def __init__(self, console: Console) -> None:
        self._console = console
        #: the last quarter that was told, by task id
        self._quarters: dict[str, int] = {}

    def show(self, task: Task, news: Entry | None) -> None:
        if news is not None:
            self.tell(news)
        percent, quarter = task.progress.percent, task.progress.percent // 25
        if self._quarters.setdefault(task.id, 0) < quarter and not task.status.is_final:
            self._quarters[task.id] = quarter
            self._console.print(f"{'':9}{task.id:<17} {percent} %, {task.progress.message}", markup=False)

    def tell(self, entry: Entry) -> None:
        self._console.print(str(entry), markup=False, highlight=False)
