"""Whether a worker is well: what probes ask, judged by signs of life.

Not live means that a restart would help and nothing else does. An outage of a server and a
task that takes hours are no reasons: a worker waits for servers by itself, and a restart would
only throw its task away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

#: seconds after which a thread that shows no life is taken for dead; a server that hangs may hold it for two minutes
SILENT_AFTER_S = 180.0
#: the broker has to say so many times in a row that it knows no consumer: it may not have heard of us yet
DEAF_LOOKS = 2

#: what was looked at, and what is wrong with it; None: nothing
Checks: TypeAlias = dict[str, str | None]


@dataclass(frozen=True)
class Vitals:
    """The signs of life of one worker at one moment. Seconds of silence are 0 for what has no need to show life."""

    is_stopping: bool
    loop_silent_s: float
    heartbeat_silent_s: float
    #: the I/O threads of the two connections to the broker
    source_silent_s: float
    publisher_silent_s: float
    is_connected: bool
    #: messages may come, or one is in hand
    is_served: bool
    #: how many times in a row messages waited, this worker believed to be their consumer, and the broker knew of none
    deaf_looks: int
    database_answers: bool
    #: seconds for which the handler has run; None while it does not
    running_s: float | None
    #: seconds since the lease of its task was renewed
    lease_age_s: float


@dataclass(frozen=True)
class Limits:
    """What the settings allow, in seconds."""

    lease_s: float
    #: for one attempt; 0: any time
    time_limit_s: float
    #: what a handler that was interrupted gets to end
    grace_s: float


def live(vitals: Vitals, limits: Limits) -> Checks:
    """What only a restart cures."""
    return {
        "loop": None if vitals.is_stopping else _silent("the worker's loop", vitals.loop_silent_s),
        "heartbeat": _silent("the thread that renews leases", vitals.heartbeat_silent_s),
        "source": _silent("the thread of the consuming connection", vitals.source_silent_s),
        "publisher": _silent("the thread of the publishing connection", vitals.publisher_silent_s),
        "subscription": _deaf(vitals),
        "lease": _stale_lease(vitals, limits),
        "handler": _overdue_handler(vitals, limits),
    }


def ready(vitals: Vitals, limits: Limits) -> Checks:
    """What keeps it from taking the next task, or from finishing the one in hand."""
    return {
        **live(vitals, limits),
        "stop": "the worker is stopping" if vitals.is_stopping else None,
        "broker": _without_broker(vitals),
        "database": None if vitals.database_answers else "the database does not answer",
    }


def _silent(who: str, silent_s: float) -> str | None:
    return f"{who} has shown no life for {silent_s:.0f} s" if silent_s > SILENT_AFTER_S else None


def _deaf(vitals: Vitals) -> str | None:
    if vitals.deaf_looks < DEAF_LOOKS:
        return None
    return "messages wait and the broker knows no consumer, although this worker believes to be one"


def _stale_lease(vitals: Vitals, limits: Limits) -> str | None:
    if vitals.running_s is None or not vitals.database_answers or vitals.lease_age_s <= limits.lease_s + SILENT_AFTER_S:
        return None
    return f"the lease of the running task was renewed {vitals.lease_age_s:.0f} s ago, although the database answers"


def _overdue_handler(vitals: Vitals, limits: Limits) -> str | None:
    if vitals.running_s is None or not limits.time_limit_s:
        return None
    overdue_s = vitals.running_s - limits.time_limit_s
    if overdue_s <= limits.grace_s:
        return None
    return (
        f"the handler is {overdue_s:.0f} s past TASK_TIMEOUT and can't be interrupted, as C code can't (see ISOLATION)"
    )


def _without_broker(vitals: Vitals) -> str | None:
    if not vitals.is_connected:
        return "not connected to the broker"
    return None if vitals.is_served else "not subscribed to the queue"
