"""The claim table of the design: what a task's row says to the worker that holds a ticket for it.

row                                       verdict
---------------------------------------   -------------------------------------------------
pending, or retrying and due              Claimable: run it
the same, or retrying at any time, and
somebody asked to cancel                  Unrun: it fails as cancelled
retrying, or sent with a delay, and not
yet due                                   NotYet: the ticket has to come back then
running, lease alive                      NotYet, whoever owns it
running, mine, and I do not run it        Mine: my claim was committed and its reply was lost
running, lease expired                    Expired: watch it before taking it over
final, callback due                       CallbackDue
final, callback due later                 NotYet
final, nothing owed                       Finished
of another queue and not final            Elsewhere: its ticket belongs there
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from grid_async_task.domain.failure import CANCELLED, Failure
from grid_async_task.domain.task import Task, TaskStatus

#: a ticket of a running task comes back at the latest after this many seconds
MAX_PARK_S = 300.0
#: but not much more often than ten times in the life of a long task
SHARE_OF_RUNNING_TIME = 0.1
#: seconds that a task sent with a delay may begin early: delays are counted in whole ones
EARLY_S = 1.0


@dataclass(frozen=True)
class Claimable:
    task: Task


@dataclass(frozen=True)
class Unrun:
    """The task fails without being run."""

    task: Task
    failure: Failure


@dataclass(frozen=True)
class NotYet:
    """Nothing to do for `wait_s` seconds."""

    wait_s: float


@dataclass(frozen=True)
class Mine:
    task: Task


@dataclass(frozen=True)
class Expired:
    task: Task


@dataclass(frozen=True)
class CallbackDue:
    task: Task


@dataclass(frozen=True)
class Finished:
    pass


@dataclass(frozen=True)
class Elsewhere:
    queue: str


Verdict: TypeAlias = Claimable | Unrun | NotYet | Mine | Expired | CallbackDue | Finished | Elsewhere


def judge(task: Task, now: datetime, *, me: str, queue: str) -> Verdict:
    """Read the row as a worker that runs nothing at the moment; `now` is the database's clock."""
    due_in_s = 0.0 if task.wake_at is None else (task.wake_at - now).total_seconds()
    if task.status.is_final:
        if task.wake_at is None:
            return Finished()
        return NotYet(due_in_s) if due_in_s > 0 else CallbackDue(task)
    # a row that somebody else has inserted may name no queue: then it is whoever's gets its message
    if task.queue and task.queue != queue:
        return Elsewhere(task.queue)
    if task.status is TaskStatus.RUNNING:
        if task.owner == me:
            return Mine(task)
        if due_in_s <= 0:
            return Expired(task)
        has_run_s = 0.0 if task.started_at is None else (now - task.started_at).total_seconds()
        return NotYet(min(MAX_PARK_S, max(due_in_s, has_run_s * SHARE_OF_RUNNING_TIME)))
    if task.cancel_requested:
        return Unrun(task, CANCELLED)
    if due_in_s > (0 if task.status is TaskStatus.RETRYING else EARLY_S):
        return NotYet(due_in_s)
    return Claimable(task)
