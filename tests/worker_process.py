"""A worker in a process of its own, to be killed, paused and stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.waiting import eventually

_PROGRAM = """
import sys
from importlib import import_module
from grid_async_task import TaskProcessor
module, _, name = sys.argv[1].partition(":")
TaskProcessor(getattr(import_module(module), name)()).start()
"""


class WorkerProcess:
    """Started at once. Its settings are given as environment variables."""

    def __init__(
        self,
        directory: Path,
        handler: str = "tests.handlers:Diary",
        *,
        command: Sequence[str] | None = None,
        **settings: Any,
    ) -> None:
        """`command` is what to run instead of a program that runs `handler` with a TaskProcessor."""
        self._diary = directory / "diary"
        self._diary.touch()
        self._log_path = directory / f"worker-{len(list(directory.glob('worker-*')))}.log"
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("GRID_ASYNC_TASK_")},
            **{f"GRID_ASYNC_TASK_{name.upper()}": str(value) for name, value in settings.items()},
            "GRID_ASYNC_TASK_LOG_DIR": str(directory),
            "TEST_DIARY": str(self._diary),
            "PYTHONPATH": str(Path(__file__).parent.parent),
        }
        with self._log_path.open("wb") as log:
            self.process = subprocess.Popen(
                command or [sys.executable, "-c", _PROGRAM, handler],
                env=environment,
                stderr=log,
                stdout=log,
                cwd=directory,
            )

    def said(self, event: str) -> list[dict[str, Any]]:
        """The lines of its log about that."""
        said = [json.loads(line) for line in _whole_lines(self._log_path) if line.startswith("{")]
        return [line for line in said if line["event"] == event]

    def diary(self) -> list[str]:
        return _whole_lines(self._diary)

    def wait_for_diary(self, line: str, timeout_s: float = 60.0) -> None:
        eventually(lambda: line in self.diary() or self.process.poll() is not None, timeout_s, f"{line!r} in the diary")
        assert line in self.diary(), f"the worker ended without {line!r}:\n{self.log()}"

    def log(self) -> str:
        return self._log_path.read_text()

    def wait_for_log(self, text: str, timeout_s: float = 60.0) -> None:
        eventually(lambda: text in self.log(), timeout_s, f"{text!r} in the log")

    def kill(self) -> None:
        """kill -9"""
        self.process.kill()
        self.process.wait()

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def ended(self, timeout_s: float = 60.0) -> int:
        """Wait for the exit code."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the worker did not end within {timeout_s} s:\n{self.log()}") from None

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.kill()


def _whole_lines(file: Path) -> list[str]:
    """Without the last one as long as it is only half written."""
    return [line[:-1] for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]
