"""Handlers that a stop signal meets in awkward places. What they did stands in the diary of the test."""

from __future__ import annotations

import ctypes
import hashlib
from typing import Any

from grid_async_task import TaskHandler
from tests.handlers import Diary, note

#: rounds of a hash that takes hours: no signal's handler runs and nothing can be raised before it is done
ENDLESS_ROUNDS = 2_000_000_000


class InCCall(Diary):
    """One call of C code, which lets other threads run and never comes back to Python meanwhile.

    The second attempt has learned.
    """

    def execute(self, task_data: dict[str, Any]) -> Any:
        note(f"start {self.task_id} {self.attempt}")
        if self.attempt == 1:
            hashlib.pbkdf2_hmac("sha256", b"password", b"salt", task_data.get("rounds", ENDLESS_ROUNDS))
        note(f"end {self.task_id} {self.attempt}")


class InSystemCall(Diary):
    """A C library that waits in the kernel, as drivers do; it goes on waiting when a signal comes."""

    def execute(self, task_data: dict[str, Any]) -> Any:
        note(f"start {self.task_id} {self.attempt}")
        sleep = ctypes.CDLL(None).sleep
        left_s = task_data["sleep"]
        while left_s:
            left_s = sleep(left_s)
        note(f"end {self.task_id} {self.attempt}")


class Reporting(TaskHandler):
    """Reports progress without a break."""

    def execute(self, task_data: dict[str, Any]) -> Any:
        note(f"start {self.task_id} {self.attempt}")
        if self.attempt > 1:
            return
        number = 0
        while True:
            number += 1
            self.report_progress(number % 100, f"step {number}")
