"""Handlers that break parts of their own worker."""

from __future__ import annotations

import ctypes
import threading
from typing import Any

from tests.handlers import Diary, note


class KillsThreads(Diary):
    """Ends the threads whose names begin with what the task's data list, wherever they are: no code of ours sees it."""

    def execute(self, task_data: dict[str, Any]) -> Any:
        for thread in threading.enumerate():
            if thread.name.startswith(tuple(task_data["threads"])) and thread.ident is not None:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))
                note(f"killed {thread.name}")
