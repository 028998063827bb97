"""Handlers that tests run in worker processes of their own. What they did stands in a file."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from grid_async_task import TaskHandler
from grid_async_task.adapters.rabbitmq import consumer


def note(text: str) -> None:
    """Add a line to the diary that the test reads; one write, so that lines of several processes do not mix."""
    with Path(os.environ["TEST_DIARY"]).open("ab", buffering=0) as diary:
        diary.write(f"{text}\n".encode())


class Diary(TaskHandler):
    """Notes its start and its end, and does between them what the task's data say."""

    def execute(self, task_data: dict[str, Any]) -> Any:
        note(f"start {self.task_id} {self.attempt}")
        if "progress" in task_data:
            self.report_progress(task_data["progress"], "halfway")
        if "until" in task_data:
            self.wait_for(Path(task_data["until"]))
        if "sleep" in task_data:
            time.sleep(task_data["sleep"])
        if task_data.get("fail_until", 0) >= self.attempt:
            raise RuntimeError("not yet")
        note(f"end {self.task_id} {self.attempt}")
        return {"attempt": self.attempt, **task_data.get("returns", {})}

    def wait_for(self, file: Path) -> None:
        """A long task: it ends when the test says so."""
        while not file.exists():
            time.sleep(0.02)


class AckTimeoutOfOneSecond(Diary):
    """Asks for what older brokers have as one setting for all consumers, newer ones for each of them."""

    def __init__(self) -> None:
        super().__init__()
        consumer.CONSUMER_TIMEOUT_MS = 1000


class Checkpointing(Diary):
    """Ten steps, each of which is saved."""

    def execute(self, task_data: dict[str, Any]) -> Any:
        for step in range((self.checkpoint or 0) + 1, 11):
            note(f"step {step} of {self.task_id} in {self.attempt}")
            if step == 5 and self.attempt == 1:
                self.wait_for(Path(task_data["until"]))
            self.save_checkpoint(step)
        return {"steps": self.checkpoint}


class Stubborn(Diary):
    """Does not end, whatever is raised in it."""

    def execute(self, task_data: dict[str, Any]) -> Any:
        note(f"start {self.task_id} {self.attempt}")
        while True:
            try:
                time.sleep(60)
            except BaseException:
                note("interrupted")
