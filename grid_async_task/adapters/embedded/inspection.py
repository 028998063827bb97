"""Looking at the queue file before workers depend on it."""

from __future__ import annotations

import os

from grid_async_task.adapters.embedded.queue_file import QueueFile
from grid_async_task.domain.errors import ConfigurationError, GridAsyncTaskError
from grid_async_task.ports.inspector import Finding, Inspector, Level, Missing

_IS_KNOWN = "SELECT 1 FROM grid_async_task_queues WHERE name = ?"


class EmbeddedInspector(Inspector):
    """Makes no file where there is none."""

    def __init__(self, path_or_url: str | os.PathLike[str], queue: str, dead_queue: str) -> None:
        self._file = QueueFile(path_or_url)
        self._queue = queue
        self._dead_queue = dead_queue

    def inspect(self) -> list[Finding]:
        subject = "queue file"
        migrate = "run: grid-async-task migrate"
        if self._file.path.parent.is_dir() and not self._file.path.exists():
            return [Finding(Level.ERROR, subject, f"{self._file.path} does not exist yet", migrate)]
        try:
            with self._file.reading() as db:
                # the tables are there: the file makes them when it is opened
                known = db.execute(_IS_KNOWN, (self._queue,)).fetchone() is not None
        except ConfigurationError as error:
            return [Finding(Level.ERROR, subject, str(error), "see the variable AMQP_URL")]
        except GridAsyncTaskError as error:
            return [Finding(Level.ERROR, subject, str(error), "see whether another program holds the file")]
        finally:
            self._file.close()
        readable = Finding(Level.OK, subject, f"{self._file.path} can be read and written")
        if not known:
            return [readable, Finding(Level.ERROR, "queue", f"{self._queue} does not exist yet", migrate)]
        return [readable, Finding(Level.OK, "queue", f"{self._queue} exists")]

    def missing(self) -> list[Missing]:
        queues = [Missing("queue", self._queue), Missing("queue", self._dead_queue)]
        if not self._file.path.exists():
            return [Missing("file", str(self._file.path)), *queues]
        try:
            with self._file.reading() as db:
                return [queue for queue in queues if db.execute(_IS_KNOWN, (queue.name,)).fetchone() is None]
        finally:
            self._file.close()
