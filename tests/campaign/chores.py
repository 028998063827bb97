"""What the workers of a campaign do, and the diary in which each execution stands with its begin and its end."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grid_async_task import Discard, Retry, Snooze, TaskHandler

#: seconds; workers run with this `RETRY_DELAY`, and ask for it themselves
PAUSE_S = 1.0
#: what a task that fails and has no retry left ends as
ERROR_TYPES = {"failing": "RetryExhausted", "discarding": "Discard"}
#: an execution that ended so may be followed by another one without anybody's doing
MAY_COME_AGAIN = {"Retry", "Snooze", "NotYet"}


class NotYet(Exception):
    """The attempt failed; a later one may not."""


def _note(**facts: Any) -> None:
    """One write to a file opened for appending: lines of several processes do not mix."""
    line = json.dumps({**facts, "pid": os.getpid(), "at": time.monotonic()}) + "\n"
    with Path(os.environ["TEST_DIARY"]).open("ab", buffering=0) as diary:
        diary.write(line.encode())


class Chores(TaskHandler):
    """Does what the task's data say. Its result names the attempt and the process it comes from."""

    def execute(self, task_data: dict[str, Any]) -> Any:
        _note(what="begin", task=self.task_id, attempt=self.attempt)
        try:
            self._do(task_data)
        except BaseException as error:
            _note(what="end", task=self.task_id, attempt=self.attempt, how=type(error).__name__)
            raise
        _note(what="end", task=self.task_id, attempt=self.attempt, how="returned")
        return {"attempt": self.attempt, "pid": os.getpid()}

    def _do(self, data: dict[str, Any]) -> None:
        number = data["number"]
        match data["kind"]:
            case "slow":
                self._work(number)
            case "stepwise":
                for step in range(self.checkpoint or 0, number):
                    time.sleep(0.2)
                    self.save_checkpoint(step + 1)
            case "retrying" if self.attempt <= number:
                raise NotYet(f"attempt {self.attempt} of {number} that fail")
            case "asking" if self.attempt <= number:
                raise Retry(after=PAUSE_S)
            case "snoozing" if self.attempt <= number:
                raise Snooze(PAUSE_S)
            case "failing":
                raise NotYet("it never will")
            case "discarding":
                raise Discard("of no use")

    def _work(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self.cancelled:
            self.report_progress(100 * (1 - left / seconds), "at work")
            time.sleep(min(left, 0.1))


@dataclass
class Execution:
    """One run of the handler, as the diary has it."""

    task: str
    attempt: int
    pid: int
    began: float
    #: None: it never came to an end
    ended: float | None = None
    #: `returned`, or the name of what was raised
    how: str | None = None


@dataclass
class Diary:
    #: by task, in the order in which they began
    executions: dict[str, list[Execution]] = field(default_factory=dict)
    #: how many times a second handler began under one attempt number
    same_attempt_twice: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Diary:
        diary = cls()
        known: dict[tuple[str, int], Execution] = {}
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            key = (entry["task"], entry["attempt"])
            if entry["what"] == "begin":
                if key in known:
                    diary.same_attempt_twice.append(f"attempt {key[1]} of {key[0]} was begun twice")
                known[key] = Execution(*key, entry["pid"], entry["at"])
                diary.executions.setdefault(key[0], []).append(known[key])
            else:
                known[key].ended, known[key].how = entry["at"], entry["how"]
        return diary
