"""How an ending crosses the pipe."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from grid_async_task.domain.failure import Failure
from grid_async_task.ports import AskedToSnooze, Ending, Interrupted, Raised, Returned


def to_plain(ending: Ending) -> dict[str, Any]:
    return {"type": type(ending).__name__, **asdict(ending)}


def from_plain(plain: dict[str, Any]) -> Ending:
    match plain:
        case {"type": "Returned", "result": result}:
            return Returned(result)
        case {"type": "AskedToSnooze", "delay_s": delay_s}:
            return AskedToSnooze(delay_s)
        case {"type": "Raised", "failure": failure, "own_delay_s": own_delay_s}:
            return Raised(Failure(**failure), own_delay_s)
        case _:
            return Interrupted()
