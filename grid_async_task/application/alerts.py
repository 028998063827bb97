"""Telling people on call, without holding anything up."""

from __future__ import annotations

import structlog

from grid_async_task.application.room import Room
from grid_async_task.domain.callback import receiver_of
from grid_async_task.domain.failure import CANCELLED, Failure
from grid_async_task.domain.message import InvalidMessage
from grid_async_task.domain.task import Task
from grid_async_task.ports import Background, Notice, Notifier

#: notices that may be under way at a time: more than Feishu takes in a minute, so that only a notifier that hangs
#: ever has so many
NOTICES_AT_ONCE = 100

log = structlog.get_logger(__name__)


class Alerts:
    """Turns what went wrong into notices, and hands them to the notifier in the background."""

    def __init__(self, notifier: Notifier, background: Background) -> None:
        self._notifier = notifier
        self._background = background
        self._room = Room(NOTICES_AT_ONCE)

    def task_failed(self, task: Task, failure: Failure) -> None:
        """A task failed for good. A cancel is no news: somebody asked for it."""
        if failure.error_type == CANCELLED.error_type:
            return
        facts = {
            "task id": task.id,
            "task type": task.task_type,
            "queue": task.queue,
            "attempts": str(task.attempt),
            "error type": failure.error_type if failure.cause is None else f"{failure.error_type} ({failure.cause})",
            "error": failure.message,
        }
        self._tell(Notice("Task failed", facts, failure.traceback))

    def dead_message(self, queue: str, reason: InvalidMessage) -> None:
        facts = {"queue": queue, "reason": reason.reason, "error": str(reason)}
        if reason.salvaged is not None:
            facts = {"task id": reason.salvaged.task_id, **facts}
        self._tell(Notice("Message is no valid task", facts))

    def callback_exhausted(self, task: Task, error: str) -> None:
        facts = {
            "task id": task.id,
            "task type": task.task_type,
            "callback": receiver_of(task),
            "tries": str(task.callback_attempts),
            "error": error,
        }
        self._tell(Notice("Callback given up", facts))

    def _tell(self, notice: Notice) -> None:
        if self._room.enter("notifier") is None:
            log.warning("notification failed", title=notice.title, error="the notifier hangs")
        else:
            self._background.submit(lambda: self._notify(notice))

    def _notify(self, notice: Notice) -> None:
        try:
            self._notifier.notify(notice)
        except Exception as error:
            log.warning("notification failed", title=notice.title, error=str(error))
        finally:
            self._room.leave("notifier")
