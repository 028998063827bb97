"""What is left to see at the end: all tasks, the history of each, the cards."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from grid_async_task import Task
from grid_async_task.demo.history import History, outcome_of
from grid_async_task.demo.receiver import Receiver
from grid_async_task.demo.scenes import SCENES
from grid_async_task.demo.screen import STYLES


def print_summary(console: Console, tasks: Sequence[Task], history: History, receiver: Receiver) -> None:
    console.print()
    console.print(_table(console, tasks, receiver))
    console.print("\nThe history of each task\n")
    for scene in SCENES:
        console.print(f"[bold]{scene.task_id}[/]: {scene.shows}")
        for entry in history.of(scene.task_id):
            console.print(f"  {entry.at_s:5.1f} s  {entry.text}", markup=False, highlight=False)
    for card in receiver.cards:
        console.print()
        frame = box.ROUNDED if console.is_terminal else box.ASCII
        console.print(Panel(escape(card), title="the card that Feishu was sent", box=frame, style="red"))


def _table(console: Console, tasks: Sequence[Task], receiver: Receiver) -> Table:
    table = Table(box=box.SIMPLE_HEAD if console.is_terminal else box.ASCII)
    for name in ("task id", "type", "status"):
        table.add_column(name, no_wrap=True)
    for name in ("attempts", "retries"):
        table.add_column(name, no_wrap=True, justify="right")
    for name in ("result or error", "callback"):
        table.add_column(name, overflow="fold")
    for task in tasks:
        status = task.status.value
        table.add_row(
            task.id,
            task.task_type,
            f"[{STYLES[status]}]{status}[/]",
            str(task.attempt),
            str(task.retry_count),
            escape(outcome_of(task)),
            _callback(task, receiver),
        )
    return table


def _callback(task: Task, receiver: Receiver) -> str:
    if task.callback_status is None:
        return "not asked for"
    body = receiver.callbacks.get(task.id)
    return f"received: {body['status']}" if body else f"{task.callback_status.value}, not received"
