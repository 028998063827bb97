"""Handlers and sinks for worker processes whose callbacks are put to the test."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

from grid_async_task import TaskProcessor
from grid_async_task.domain.callback import Callback
from tests.handlers import Diary, note


class KilledAfterTheCommit(Diary):
    """The process is gone between the commit of the outcome and its callback."""

    def on_task_complete(self, result: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class HangingSink:
    """Never answers, never raises, knows no time limit."""

    def send(self, callback: Callback) -> None:
        note(f"sink {callback.task_id}")
        threading.Event().wait()


def work_with_a_hanging_sink() -> None:
    """The program of a worker that knows such a sink."""
    TaskProcessor(Diary(), callback_senders={"hanging": HangingSink()}).start()
