"""Publishing what was enqueued within an application's own transaction, as soon as that is committed.

Only a help: what is not published here, because the process died or the broker is away, is in the table as a
message owed, and the sweep publishes it within half a minute of its time.
"""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import replace

import structlog

from grid_async_task.application.due_time import DUE_HEADER, due_headers
from grid_async_task.application.envelope import message_of
from grid_async_task.domain.errors import ConnectionError, GridAsyncTaskError
from grid_async_task.domain.task import TaskStatus
from grid_async_task.ports import MessagePublisher, OutgoingMessage, TaskRepository

#: seconds before each look for a row whose commit is under way; after the last it is taken for rolled back, or late
LOOKS_S = (0.0, 0.01, 0.05, 0.1, 0.3, 0.5, 1.0)
#: seconds that `close` waits for what is under way
GOODBYE_S = 5.0

log = structlog.get_logger(__name__)


class Relay:
    """One thread of its own, started when it is first needed. May be used by many."""

    def __init__(self, repository: TaskRepository, publisher: MessagePublisher) -> None:
        self._repository = repository
        self._publisher = publisher
        #: ids, and their messages as they were at the call, without the bodies
        self._told: queue.SimpleQueue[tuple[str, OutgoingMessage] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def committing(self, task_id: str, asked: OutgoingMessage) -> None:
        """The transaction in which this task was enqueued is being committed. Returns at once, raises nothing."""
        self._told.put((task_id, asked))
        with self._lock:
            # a thread does not come along into a forked process
            if self._thread is None or not self._thread.is_alive():
                thread = threading.Thread(target=self._run, name="grid-async-task relay", daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:  # no more threads to be had; the commit must not fail of it
                    log.warning("enqueued tasks are published by the sweep when they are due", error=str(error))
                else:
                    self._thread = thread

    def publish_owed(self, task_id: str, asked: OutgoingMessage) -> bool:
        """Publish the message of a task if it is owed, for its time. False where there is no such task (yet).

        `asked` has the headers and properties that it was enqueued with; all else is in the row, its time too.
        """
        reading = self._repository.read(task_id)
        if reading is None:
            return False
        task = reading.task
        if task.status is TaskStatus.PENDING and task.wake_at is not None:
            delay_s = max(0.0, (task.wake_at - reading.now).total_seconds())
            message = message_of(task, delay_s)
            headers = {name: value for name, value in asked.headers.items() if name != DUE_HEADER}
            headers |= due_headers(delay_s, reading.now)
            self._publisher.publish(replace(message, headers=headers, properties=asked.properties))
            # only now: whoever dies before leaves it to the sweep
            if delay_s:
                self._repository.mark_delayed(task)
            else:
                self._repository.clear_owed(task.id, task.attempt)
        return True

    def close(self) -> None:
        """Publish what is committed, within a few seconds."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            self._told.put(None)
            thread.join(GOODBYE_S)

    def _run(self) -> None:
        while (told := self._told.get()) is not None:
            try:
                self._publish_once_committed(*told)
            except GridAsyncTaskError as error:
                log.warning("enqueued tasks are published by the sweep when they are due", error=str(error))
                if isinstance(error, ConnectionError):
                    self._forget_the_waiting()

    def _publish_once_committed(self, task_id: str, asked: OutgoingMessage) -> None:
        for pause_s in LOOKS_S:
            time.sleep(pause_s)
            if self.publish_owed(task_id, asked):
                return
        log.debug("no row of an enqueued task: rolled back, or committed late", task_id=task_id)

    def _forget_the_waiting(self) -> None:
        """With a server away each would wait for it in vain."""
        while not self._told.empty():
            if self._told.get() is None:
                self._told.put(None)
                return
