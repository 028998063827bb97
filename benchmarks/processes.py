"""Processes that are measured: started, waited for, ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.site import Site

ROOT = Path(__file__).parents[1]
#: seconds until something has gone wrong
PATIENCE_S = 120.0


class Measured:
    """A process that writes a report when it has done what it is measured by."""

    def __init__(
        self, site: Site, command: Sequence[str], environment: Mapping[str, str], tasks: tuple[int, int]
    ) -> None:
        """`tasks`: from which to which the time is taken, counted from 1."""
        name = uuid.uuid4().hex
        self._report = site.folder / f"{name}.json"
        self._log = site.folder / f"{name}.log"
        inherited = {
            name: value
            for name, value in os.environ.items()
            # an installed package has its bytecode with it
            if not name.startswith("GRID_ASYNC_TASK_") and name != "PYTHONDONTWRITEBYTECODE"
        }
        own = {"BENCH_TASKS": f"{tasks[0]}-{tasks[1]}", "BENCH_REPORT": str(self._report), "PYTHONPATH": str(ROOT)}
        with self._log.open("wb") as log:
            self.started_at = time.perf_counter()
            self._process = subprocess.Popen(
                command,
                env={**inherited, **own, **environment},
                cwd=site.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # some have children
            )

    def report(self) -> Any:
        deadline = time.monotonic() + PATIENCE_S
        while not self._report.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"no report from {self._process.args!r}:\n{self._log.read_text()[-3000:]}")
            time.sleep(0.005)
        return json.loads(self._report.read_text())

    def memory_mb(self) -> dict[str, float]:
        """Of the process alone: what the kernel has for it (rss), its share of what is shared (pss), its own (uss)."""
        lines = Path(f"/proc/{self._process.pid}/smaps_rollup").read_text().splitlines()[1:]
        kb = {line.split(":")[0]: int(line.split()[1]) for line in lines}
        uss = kb["Private_Clean"] + kb["Private_Dirty"]
        return {"rss": kb["Rss"] / 1024, "pss": kb["Pss"] / 1024, "uss": uss / 1024}

    def end(self) -> None:
        """Gently first: a process that is killed leaves its messages to be delivered once more."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()

    def __enter__(self) -> Measured:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
