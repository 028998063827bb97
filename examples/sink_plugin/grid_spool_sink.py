"""A callback sink that puts each callback as a file into a directory, for programs that watch one."""

from __future__ import annotations

import os
import time
from pathlib import Path

from grid_async_task import ConfigurationError
from grid_async_task.domain.callback import Callback


class SpoolSink:
    """The file `<time in ns>-<callback id>.json` holds just the callback's body; repeats have the same id."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @classmethod
    def from_environment(cls) -> SpoolSink:
        """What the entry point names. Raises `ConfigurationError`, which the worker shows as advice."""
        directory = os.environ.get("SPOOL_DIR")
        if not directory:
            raise ConfigurationError("the callback sink `spool` needs SPOOL_DIR: the directory for its files")
        return cls(Path(directory))

    def send(self, callback: Callback) -> None:
        name = f"{time.time_ns()}-{callback.id}"
        unfinished = self._directory / f"{name}.part"
        with unfinished.open("wb") as file:
            file.write(callback.body)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(self._directory / f"{name}.json")  # at once: nobody reads half a file
