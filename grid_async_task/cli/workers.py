from __future__ import annotations

import typer

from grid_async_task.application.roster import Stint, roster
from grid_async_task.cli.options import AnyQueue, AsJson, Limit
from grid_async_task.cli.output import print_json, print_table
from grid_async_task.cli.tools import Tools
from grid_async_task.domain.wire_time import to_wire


def add_to(app: typer.Typer) -> None:
    app.command("workers", epilog="Example: grid-async-task workers --queue task_queue")(workers)


def workers(queue: AnyQueue = None, limit: Limit = 100, as_json: AsJson = False) -> None:
    """Show who runs what.

    The worker (host:process:token), its task, since when, and the seconds left of its lease. A lease below 0 has
    not been renewed: its worker is gone, and another one takes the task over.
    """
    with Tools() as tools:
        stints = roster(tools.repository, queue, limit)
    if as_json:
        print_json([_as_dict(stint) for stint in stints])
        return
    columns = ("WORKER", "TASK", "TYPE", "ATTEMPT", "PROGRESS", "QUEUE", "SINCE", "LEASE LEFT")
    print_table(columns, map(_row, stints), if_none="no task is running")


def _row(stint: Stint) -> tuple[object, ...]:
    task = stint.task
    progress, left = f"{task.progress.percent}%", f"{stint.lease_left_s:.0f} s"
    return task.owner, task.id, task.task_type, task.attempt, progress, task.queue, task.started_at, left


def _as_dict(stint: Stint) -> dict[str, object]:
    task = stint.task
    return {
        "worker": task.owner,
        "task_id": task.id,
        "task_type": task.task_type,
        "queue": task.queue,
        "attempt": task.attempt,
        "progress": task.progress.percent,
        "cancel_requested": task.cancel_requested,
        "since": None if task.started_at is None else to_wire(task.started_at),
        "lease_left_seconds": round(stint.lease_left_s, 1),
    }
