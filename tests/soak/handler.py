"""The handler of a soak: a bit of everything, and now and then a task that measures the process it runs in."""

from __future__ import annotations

import gc
import os
import threading
from pathlib import Path
from typing import Any

from grid_async_task import Discard, Snooze, TaskHandler


class Soaking(TaskHandler):
    """The kinds of tasks are those of `tests.soak.soak.KINDS`."""

    def execute(self, task_data: dict[str, Any]) -> Any:
        match task_data["kind"]:
            case "measuring":
                return _measured()
            case "retrying" if self.attempt == 1:
                raise RuntimeError("not yet")
            case "snoozing" if self.attempt == 1:
                raise Snooze(1)
            case "failing":
                raise ValueError("it never will")
            case "discarding":
                raise Discard("of no use")
            case "telling":
                self.report_progress(50, "halfway")
            case "saving":
                self.save_checkpoint({"step": 1, "text": "x" * 500})
        return {"text": "x" * 200}


def _measured() -> dict[str, int]:
    gc.collect()
    return {
        "rss_kb": _rss_kb(),
        "objects": len(gc.get_objects()),
        "threads": threading.active_count(),
        "files": len(os.listdir("/proc/self/fd")),
    }


def _rss_kb() -> int:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))


class Leaking(Soaking):
    """To see that a leak is seen."""

    kept: list[Any]

    def __init__(self) -> None:
        self.kept = []

    def execute(self, task_data: dict[str, Any]) -> Any:
        self.kept.append([open("/dev/null", "rb"), {"a": {}}])  # noqa: SIM115
        return super().execute(task_data)
