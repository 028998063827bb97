"""Handlers that are killed at a moment of chance, or kill themselves right before they say how it went."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from grid_async_task import Discard, Retry, Snooze, TaskHandler

#: seconds of one step
STEP_S = 0.03
#: seconds after which a task that asked for it runs again
DELAY_S = 2.0


class Resuming(TaskHandler):
    """Does what the task's data say."""

    def execute(self, task_data: dict[str, Any]) -> Any:
        self.note("begin", checkpoint=self.checkpoint)
        match task_data["kind"]:
            case "steps":
                self.take_steps(task_data["steps"], task_data.get("last_step_after"))
            case "cancelled":
                time.sleep(60)
            case _ if self.attempt == 1:
                self.note("raise")
                _kill_me_in(task_data["kill_after_s"])
                raise _what(task_data["kind"])
            case "discard":
                raise Discard("of no use")
        return {"attempt": self.attempt, "steps": self.checkpoint}

    def take_steps(self, steps: int, last_step_after: str | None = None) -> None:
        """`last_step_after` is a file: until it is there, the last step does not end."""
        for step in range((self.checkpoint or 0) + 1, steps + 1):
            self.note("step", step=step)
            time.sleep(STEP_S)
            while step == steps and last_step_after and not Path(last_step_after).exists():
                time.sleep(STEP_S)
            self.save_checkpoint(step)

    def note(self, what: str, **facts: Any) -> None:
        """One write to a file opened for appending: lines of several processes do not mix."""
        entry = {
            "what": what,
            "task": self.task_id,
            "attempt": self.attempt,
            "pid": os.getpid(),
            "at": time.monotonic(),
            **facts,
        }
        with Path(os.environ["TEST_DIARY"]).open("ab", buffering=0) as diary:
            diary.write(json.dumps(entry).encode() + b"\n")


class FailingBetweenSteps(Resuming):
    """Three steps an attempt, then a failure; the last attempt has to end by itself."""

    def take_steps(self, steps: int, last_step_after: str | None = None) -> None:
        super().take_steps(min(steps, (self.checkpoint or 0) + 3))
        if self.checkpoint < steps:
            raise RuntimeError(f"broken off after step {self.checkpoint}")


def _kill_me_in(seconds: float) -> None:
    """kill -9, whatever the worker does by then with what the handler has raised."""
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL))
    timer.daemon = True
    timer.start()


def _what(kind: str) -> Exception:
    return {"snooze": Snooze(DELAY_S), "retry": Retry(after=DELAY_S), "discard": Discard("of no use")}[kind]
