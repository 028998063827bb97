"""The callback of a finished task: what it says, and when it is tried again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from grid_async_task.domain.json_text import to_json
from grid_async_task.domain.retry import Randomness
from grid_async_task.domain.wire_time import to_wire

if TYPE_CHECKING:
    from grid_async_task.domain.task import Task

#: seconds before the second, third and every later try
RETRY_DELAYS_S = (1.0, 5.0, 30.0)
#: each delay is spread by this share of itself, so that the callbacks of an outage do not come back as one
RETRY_JITTER = 0.2
#: a receiver's `Retry-After` is honoured up to this many seconds
MAX_RETRY_AFTER_S = 300.0
#: seconds after which a callback is looked at again whose receiver has enough to do with others, at first and at most
MIN_PUT_OFF_S, MAX_PUT_OFF_S = 5.0, 300.0
#: but not much more often than ten times in the time for which it has waited already
SHARE_OF_WAITING_TIME = 0.1
#: a taken callback is left alone for the time limit of one try and this many seconds more
HOLD_MARGIN_S = 60.0


@dataclass(frozen=True)
class Callback:
    """What a callback sender is given to deliver."""

    #: the same over all repeats of this callback, so that the receiver can drop them
    id: str
    task_id: str
    #: `http`, `rabbitmq` or the name of a custom sink
    type: str
    url: str | None
    #: as the message gave it; also part of the body
    data: dict[str, Any]
    #: exactly the bytes to send; repeats have identical ones
    body: bytes
    #: headers that carry the trace on which the callback is sent (W3C `traceparent`, `tracestate`); often none
    trace: Mapping[str, str] = field(default_factory=dict)


def callback_of(task: Task) -> Callback:
    """The callback of a final task, always the same for the same final state (SPEC section 5)."""
    if not task.status.is_final or task.completed_at is None:
        raise ValueError(f"task {task.id!r} is {task.status.value}: only a final task has a callback")
    result = task.failure.to_wire() if task.failure else task.result or {}
    # Keys in order: MySQL gives an object's keys back in an order of its own, and repeats have to be identical.
    parts = {
        "task_id": task.id,
        "status": task.status.value,
        "result": result,
        "timestamp": to_wire(task.completed_at),
        "callback_data": task.callback.data,
    }
    body = "{" + ",".join(f'"{name}":{to_json(part, sort_keys=True)}' for name, part in parts.items()) + "}"
    return Callback(
        id=callback_id(task.id, task.attempt),
        task_id=task.id,
        type=task.callback.type,
        url=task.callback.url,
        data=task.callback.data,
        body=body.encode("utf-8"),
    )


def callback_id(task_id: str, attempt: int) -> str:
    """One final state, one id: it derives from the task and the attempt that ended it."""
    return "cb_" + hashlib.sha256(f"{attempt}:{task_id}".encode()).hexdigest()[:32]


def receiver_of(task: Task) -> str:
    """Whom a callback goes to: the host that a URL names, without what is secret in it; else the sink as a whole."""
    if task.callback.type != "http":
        return task.callback.type
    try:
        host = urlsplit(task.callback.url or "").hostname
    except ValueError:  # the sender will say what is wrong with it
        host = None
    return f"http {host}" if host else "http"


def delay_after_try(tries: int, randomness: Randomness, retry_after_s: float | None = None) -> float:
    """Seconds until the next try, after `tries` of them. A receiver may ask for more."""
    delay = RETRY_DELAYS_S[min(tries, len(RETRY_DELAYS_S)) - 1]
    # downwards only: a broker rounds a delay up to whole seconds
    delay *= randomness.uniform(1 - RETRY_JITTER, 1)
    if retry_after_s is None:
        return delay
    return max(delay, min(retry_after_s, MAX_RETRY_AFTER_S))


def delay_of_put_off(waited_s: float, randomness: Randomness) -> float:
    """Seconds for which a callback is put off that has been due for `waited_s`: many of them must not be a flood."""
    delay = min(MAX_PUT_OFF_S, max(MIN_PUT_OFF_S, waited_s * SHARE_OF_WAITING_TIME))
    return delay * randomness.uniform(1 - RETRY_JITTER, 1)
