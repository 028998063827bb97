"""How a worker ends: nothing lost, nothing left running, within a bounded time."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from grid_async_task.application.envelope import message_of
from grid_async_task.application.lifecycle import Leaving, Lifecycle
from grid_async_task.application.running_attempt import RunningAttempt
from grid_async_task.domain.errors import GridAsyncTaskError
from grid_async_task.domain.outcome import HandedBack
from grid_async_task.ports import (
    Background,
    Clock,
    MessagePublisher,
    MessageSource,
    Notifier,
    TaskRepository,
)

#: seconds that an interrupted handler gets to end
AFTER_INTERRUPT_S = 5.0
#: seconds that callbacks and notices under way get at the end, at least; after a stop signal all of its grace
LAST_CALLS_S = 5.0
#: seconds within which the worker's own parts are closed
TO_END_S = 15.0
#: exit code of a worker whose handler would not end (SPEC section 10)
EXIT_HANDLER_STUCK = 75

log = structlog.get_logger(__name__)


class Shutdown:
    """Stops the parts of a worker in their order."""

    def __init__(
        self,
        source: MessageSource,
        publisher: MessagePublisher,
        repository: TaskRepository,
        notifier: Notifier,
        background: Background,
        lifecycle: Lifecycle,
        clock: Clock,
        *,
        grace_s: float,
        is_overdue: Callable[[], bool],
        leave_process: Callable[[int], None] = os._exit,
    ) -> None:
        self._source = source
        self._publisher = publisher
        self._repository = repository
        self._notifier = notifier
        self._background = background
        self._lifecycle = lifecycle
        self._clock = clock
        self._grace_s = grace_s
        #: whether the running attempt has used up its time limit
        self._is_overdue = is_overdue
        self._leave_process = leave_process
        self._ended = threading.Event()
        self._grace_ends = 0.0

    def begin(self, current: Callable[[], RunningAttempt | None]) -> None:
        """Stop taking tasks; see in the background that the running one ends within the grace period.

        Once is enough: who asks again is not told anything new, and the grace period stays as long as it was.
        """
        if self._lifecycle.stopping.is_set():
            return
        # first the mark, then the look: an attempt that begins in between sees the mark and does not run
        self._lifecycle.stopping.set()
        self._grace_ends = self._clock.monotonic() + self._grace_s
        running = current()
        log.info("stopping", running=running.task_id if running else None, grace_s=self._grace_s)
        self._background.loop("grid-async-task stop", lambda: self._end_within_grace(running))
        self._source.pause()

    def handler_lost_its_claim(self, attempt: RunningAttempt) -> None:
        """Another worker runs this task now: its handler must end, or the process has to."""
        attempt.run.interrupt()
        self._background.loop("grid-async-task lost claim", lambda: self._leave_unless_ended(attempt))

    @contextmanager
    def at_the_end(self) -> Iterator[None]:
        """Around the worker's loop: whatever ends it, every part is closed, and what is in hand goes back."""
        try:
            yield
        except Leaving as leaving:
            log.info("left what was in hand to other workers", reason=str(leaving))
        finally:
            self._lifecycle.stopping.set()
            self._source.close()
            self._background.close(max(LAST_CALLS_S, self._grace_ends - self._clock.monotonic()))
            self._lifecycle.leaving.set()
            for part in (self._notifier, self._publisher, self._repository):
                try:
                    part.close()
                except GridAsyncTaskError as error:
                    log.warning("not closed in good order", part=type(part).__name__, error=str(error))
            log.info("worker ended")
            self._ended.set()

    def _end_within_grace(self, running: RunningAttempt | None) -> None:
        deadline = self._clock.monotonic() + self._grace_s + AFTER_INTERRUPT_S
        if running is not None and not self._clock.wait(running.ended, self._grace_s):
            log.warning("grace period over, interrupting the handler", task_id=running.task_id, attempt=running.number)
            running.run.interrupt()
            if not self._clock.wait(running.ended, AFTER_INTERRUPT_S):
                try:
                    self._give_up(running)
                finally:
                    self._leave_process(EXIT_HANDLER_STUCK)
        if not self._clock.wait(self._lifecycle.leaving, deadline - self._clock.monotonic()):
            # an outcome that can't be written by then is left to others, and so is a ticket that nobody confirms
            self._lifecycle.leaving.set()
            self._publisher.close()
        if not self._clock.wait(self._ended, TO_END_S):
            log.error("something holds the worker up (a hook of its handler?), leaving")
            self._leave_process(EXIT_HANDLER_STUCK)

    def _give_up(self, running: RunningAttempt) -> None:
        """The handler does not end. One past its time limit has taken its worker down, and that has to count.

        Else whoever restarts workers whose handler hangs, as a liveness probe does, would have it run for ever.
        """
        if not self._is_overdue():
            self._hand_back_for(running)
            return
        log.error(
            "handler does not end although its time is over, leaving its task to be taken over",
            task_id=running.task_id,
            attempt=running.number,
        )

    def _hand_back_for(self, running: RunningAttempt) -> None:
        """The handler does not end: give its task to others from here. The broker takes the message back by itself."""
        log.error(
            "handler does not end, handing its task back and leaving", task_id=running.task_id, attempt=running.number
        )
        task = running.task
        try:
            if self._repository.settle(task, HandedBack(), running.newest_progress):
                self._publisher.publish(message_of(task))
        except GridAsyncTaskError as error:
            log.error("the task could not be handed back; it is taken over later", task_id=task.id, error=str(error))

    def _leave_unless_ended(self, attempt: RunningAttempt) -> None:
        if not self._clock.wait(attempt.ended, max(self._grace_s, AFTER_INTERRUPT_S)):
            log.error(
                "handler does not end although its claim is lost, leaving",
                task_id=attempt.task_id,
                attempt=attempt.number,
            )
            self._leave_process(EXIT_HANDLER_STUCK)
