"""One attempt while it runs: what the handler, the heartbeat and the worker's stop share."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from grid_async_task.application.lifecycle import Leaving
from grid_async_task.domain.checkpoint import to_checkpoint
from grid_async_task.domain.errors import TaskInterrupted
from grid_async_task.domain.progress import Progress
from grid_async_task.domain.task import Task
from grid_async_task.ports import HandlerRun


class RunningAttempt:
    """Fulfils `ports.AttemptView`."""

    def __init__(
        self,
        task: Task,
        run: HandlerRun,
        *,
        save: Callable[[RunningAttempt, str], bool],
        on_first_report: Callable[[], None],
        on_lost: Callable[[RunningAttempt], None],
        may_reject: bool,
    ) -> None:
        self.task = task
        self.run = run
        self.number = task.attempt
        self.checkpoint = task.checkpoint
        #: set once the handler's code has been left
        self.ended = threading.Event()
        self.cancel_requested = False
        self.claim_lost = False
        #: the handler has read `cancelled` as true
        self.saw_cancel = False
        #: what the handler said with `reject`: True to requeue, False to fail, None for nothing
        self.rejected: bool | None = None
        self._save = save
        self._may_reject = may_reject
        self._on_first_report = on_first_report
        self._on_lost = on_lost
        self._reported: tuple[Any, Any] | None = None

    # -- for the handler ------------------------------------------------------------------------

    @property
    def task_id(self) -> str:
        return self.task.id

    @property
    def task_data(self) -> dict[str, Any]:
        callback = self.task.callback
        # what the message may have left out has its default here: handlers of version 1 rely on finding it
        defaults = {
            "task_type": self.task.task_type,
            "callback_type": callback.type,
            "callback_url": callback.url,
            "callback_data": callback.data,
        }
        return {**defaults, **self.task.to_message().to_dict()}

    @property
    def cancelled(self) -> bool:
        if self.should_end:
            self.saw_cancel = True
        return self.should_end

    @property
    def should_end(self) -> bool:
        return self.cancel_requested or self.claim_lost

    def report(self, progress: Any, message: Any) -> None:
        first = self._reported is None
        self._reported = (progress, message)
        if first:
            self._on_first_report()

    def save_checkpoint(self, value: Any) -> None:
        text = to_checkpoint(value)
        try:
            kept = self._save(self, text)
        except Leaving as leaving:
            raise TaskInterrupted(str(leaving)) from leaving
        if not kept:
            self.lose_claim()
            raise TaskInterrupted("another worker runs this task now")
        self.checkpoint = value

    def acknowledge(self) -> None:
        self.rejected = None

    def reject(self, *, requeue: bool) -> None:
        if not self._may_reject:
            raise RuntimeError("reject() is for a worker made with enable_auto_ack=False")
        self.rejected = requeue

    # -- for the worker -------------------------------------------------------------------------

    def lose_claim(self) -> None:
        """Another worker runs this task now: the handler has to end."""
        if not self.claim_lost:
            self.claim_lost = True
            self._on_lost(self)

    @property
    def newest_progress(self) -> Progress | None:
        """What was reported last; None before the first report."""
        reported = self._reported
        return None if reported is None else Progress.of(*reported)
