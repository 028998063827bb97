"""Worker processes: started, killed, stopped."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import grid_async_task
from grid_async_task import Task

#: seconds that a stopped worker has to end
STOP_WITHIN_S = 5.0
#: what would change the demo's settings; the older names are read too
_SETTINGS = ("GRID_ASYNC_TASK_", "RABBITMQ_", "MYSQL_", "FEISHU_", "LOG_")


class Workers:
    """The workers of the demo. Leaving the context ends all of them."""

    def __init__(self, folder: Path, settings: Mapping[str, object]) -> None:
        self._folder = folder
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS)},
            **{f"GRID_ASYNC_TASK_{name.upper()}": str(value) for name, value in settings.items()},
            "PYTHONPATH": str(Path(grid_async_task.__file__).parent.parent),
            "NO_PROXY": "127.0.0.1",
        }
        (folder / ".env").touch()  # the nearest one is read, and this one says nothing
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    def start(self) -> int:
        """One more worker; its process id."""
        with (self._folder / "workers.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "grid_async_task.demo.worker"],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._running[process.pid] = process
        return process.pid

    def kill_the_one_that_runs(self, task: Task) -> int | None:
        """kill -9: no chance to say good-bye. Its process id; None where nobody runs the task any more."""
        # an owner is `host:process:random`
        pid = next((pid for pid in self._running if f":{pid}:" in (task.owner or "")), None)
        if pid is not None:
            process = self._running.pop(pid)
            process.kill()
            process.wait()
        return pid

    def log(self) -> str:
        """What all of them have said."""
        return (self._folder / "workers.log").read_text(encoding="utf-8", errors="replace")

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for process in self._running.values():
                process.terminate()
            for process in self._running.values():
                process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            pass
        finally:  # also when a Ctrl-C comes just now
            for process in self._running.values():
                process.kill()  # nothing, where it has ended
                process.wait()
