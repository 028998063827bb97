"""How an attempt can end, and the rule that turns what happened into what comes next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from grid_async_task.domain.failure import Failure, worker_lost
from grid_async_task.domain.retry import Randomness, RetryPolicy


@dataclass(frozen=True)
class Succeeded:
    """The handler returned. `result` is a JSON object, as the callback will carry it."""

    result: dict[str, Any]


@dataclass(frozen=True)
class Failed:
    """The attempt failed and the task with it."""

    failure: Failure


@dataclass(frozen=True)
class RetryLater:
    """The attempt failed, there are retries left: the next one in `delay_s` seconds."""

    failure: Failure
    delay_s: float


@dataclass(frozen=True)
class Snoozed:
    """The handler asked to be run again in `delay_s` seconds; this costs no retry."""

    delay_s: float


@dataclass(frozen=True)
class HandedBack:
    """The worker had to stop, or the handler sent the attempt back: somebody runs it again at once, at no cost."""


@dataclass(frozen=True)
class Crashed:
    """The handler took its own process down: it is run again at once, and the crash is counted."""

    failure: Failure


Outcome: TypeAlias = Succeeded | Failed | RetryLater | Snoozed | HandedBack | Crashed


def after_crash(failure: Failure, *, crashes_before: int, crashes_allowed: int) -> Crashed | Failed:
    """What follows when the handler's own process was lost: the same as when a worker is."""
    if crashes_before < crashes_allowed:
        return Crashed(failure)
    return Failed(worker_lost(crashes_before + 1, failure.message))


def after_failure(
    failure: Failure,
    *,
    retries_used: int,
    retries_allowed: int,
    policy: RetryPolicy,
    randomness: Randomness,
    own_delay_s: float | None = None,
) -> Failed | RetryLater:
    """What follows a failed attempt (SPEC section 5): a retry, or the end, and under which name.

    `own_delay_s` is the delay that the handler asked for with `Retry(after=...)`.
    """
    if not failure.retryable or retries_allowed == 0:
        return Failed(failure)
    if retries_used >= retries_allowed:
        return Failed(failure.exhausted())
    delay = policy.delay_before(retries_used + 1, randomness) if own_delay_s is None else own_delay_s
    return RetryLater(failure, delay)
