"""The outbox: every final task that asked for a callback gets it, at least once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotDoneYet
from dataclasses import replace
from typing import Any, TypeVar

import structlog

from grid_async_task.application.lifecycle import Leaving, Lifecycle
from grid_async_task.application.patience import Patience
from grid_async_task.application.room import Room
from grid_async_task.domain.callback import HOLD_MARGIN_S, callback_of, delay_after_try, delay_of_put_off, receiver_of
from grid_async_task.domain.errors import PermanentCallbackError
from grid_async_task.domain.failure import Failure, shown
from grid_async_task.domain.retry import Randomness
from grid_async_task.domain.task import Task
from grid_async_task.domain.verdict import Finished, NotYet
from grid_async_task.ports import (
    NO_OBSERVER,
    Background,
    CallbackDeferred,
    CallbackFailed,
    CallbackMark,
    CallbackSender,
    CallbackTry,
    Observer,
    TaskRepository,
)

T = TypeVar("T")

#: a receiver may hold up the next task for so many seconds; what takes longer goes on in the background
WAIT_FOR_RECEIVER_S = 1.0
#: tries that may be under way to one receiver at a time; what is over it is put off
TRIES_AT_ONCE = 8
#: seconds until the next try while the way to the receiver is down
DEFERRED_S = 5.0

log = structlog.get_logger(__name__)


class Callbacks:
    """Delivers callbacks that are due. The row says what is due; a message sees to it that somebody looks."""

    def __init__(
        self,
        repository: TaskRepository,
        senders: Mapping[str, CallbackSender],
        background: Background,
        database: Patience,
        lifecycle: Lifecycle,
        randomness: Randomness,
        *,
        timeout_s: float,
        retry_count: int,
        max_crash_count: int,
        on_exhausted: Callable[[Task, str], None],
        observer: Observer = NO_OBSERVER,
    ) -> None:
        self._repository = repository
        self._senders = senders
        self._background = background
        self._database = database
        self._lifecycle = lifecycle
        self._randomness = randomness
        self._hold_s = timeout_s + HOLD_MARGIN_S
        self._retry_count = retry_count
        #: a callback that was taken this often has taken its senders down with it
        self._max_takes = retry_count + 1 + max_crash_count
        self._on_exhausted = on_exhausted
        self._observer = observer
        self._room = Room(TRIES_AT_ONCE)

    def deliver(
        self, task: Task, headers: Mapping[str, Any], when_late: Callable[[float], None]
    ) -> Finished | NotYet | None:
        """Try once. What the ticket has to do next; None where another worker was faster: look at the row again.

        `headers` came with the ticket. Where the receiver takes long the try goes on in the background, and the
        answer is to come back when it must be over. `when_late` is called if it then turns out that the next try is
        due earlier.
        Nobody waits for a receiver that already takes long over another try, and it gets only so many at a time.
        """
        if task.callback_attempts >= self._max_takes:
            self._give_up(task, "its senders were lost each time they tried")
            return None
        taken = self._ask(lambda: self._repository.take_callback(task, hold_s=self._hold_s))
        if taken is None:
            return None
        receiver = receiver_of(taken)
        others = self._room.enter(receiver)
        if others is None:
            return self._put_off(taken)
        attempt = self._background.submit(lambda: self._try_in_room(taken, headers, receiver))
        try:
            return attempt.result(timeout=0.0 if others else WAIT_FOR_RECEIVER_S)
        except NotDoneYet:
            log.info("receiver takes long, the callback goes on in the background", task_id=task.id)
            attempt.add_done_callback(lambda done: _report_late(done, when_late))
            return NotYet(self._hold_s)

    def _try_in_room(self, taken: Task, headers: Mapping[str, Any], receiver: str) -> Finished | NotYet:
        try:
            return self._try(taken, headers)
        finally:
            self._room.leave(receiver)

    def _try(self, taken: Task, headers: Mapping[str, Any]) -> Finished | NotYet:
        mark = self._send(taken, headers)
        self._ask(lambda: self._repository.mark_callback(taken, mark))
        return Finished() if mark.retry_in_s is None else NotYet(mark.retry_in_s)

    def _put_off(self, taken: Task) -> NotYet:
        waited_s = 0.0
        if taken.wake_at is not None and taken.completed_at is not None:
            # by the database's clock: the take has set `wake_at` to the end of its hold
            waited_s = (taken.wake_at - taken.completed_at).total_seconds() - self._hold_s
        delay = delay_of_put_off(waited_s, self._randomness)
        self._ask(lambda: self._repository.mark_callback(taken, CallbackMark(retry_in_s=delay, counts=False)))
        log.debug("callback put off, its receiver has enough to do", task_id=taken.id, next_try_in_s=round(delay, 1))
        self._observer.callback_tried(taken, CallbackTry.PUT_OFF)
        return NotYet(delay)

    def _send(self, taken: Task, headers: Mapping[str, Any]) -> CallbackMark:
        callback = callback_of(taken)
        tries = taken.callback_attempts
        failures = taken.callback_failures + 1  # if this one fails
        try:
            sender = self._senders.get(callback.type)
            if sender is None:
                raise CallbackFailed(f"this worker has no callback sender named {callback.type!r}")
            with self._observer.calling_back(taken, callback, headers) as trace:
                sender.send(replace(callback, trace=trace))
        except CallbackDeferred as error:
            log.info("callback put off", task_id=taken.id, error=shown(str(error)))
            self._observer.callback_tried(taken, CallbackTry.PUT_OFF)
            return CallbackMark(retry_in_s=DEFERRED_S, counts=False)
        except BaseException as error:  # a custom sender may raise anything; here it ends nothing but this try
            text = f"{type(error).__name__}: {Failure.of(error).message}"
            if isinstance(error, PermanentCallbackError) or failures > self._retry_count:
                log.error("callback given up", task_id=taken.id, tries=tries, error=text)
                self._observer.callback_tried(taken, CallbackTry.GIVEN_UP)
                self._on_exhausted(taken, text)
                return CallbackMark()
            retry_after_s = error.retry_after_s if isinstance(error, CallbackFailed) else None
            delay = delay_after_try(failures, self._randomness, retry_after_s)
            log.warning("callback failed", task_id=taken.id, tries=tries, next_try_in_s=round(delay, 1), error=text)
            self._observer.callback_tried(taken, CallbackTry.FAILED)
            return CallbackMark(retry_in_s=delay)
        log.info("callback sent", task_id=taken.id, tries=tries, callback_id=callback.id)
        self._observer.callback_tried(taken, CallbackTry.SENT)
        return CallbackMark(sent=True)

    def _give_up(self, task: Task, why: str) -> None:
        if self._ask(lambda: self._repository.mark_callback(task, CallbackMark())):
            log.error("callback given up", task_id=task.id, tries=task.callback_attempts, error=why)
            self._observer.callback_tried(task, CallbackTry.GIVEN_UP)
            self._on_exhausted(task, why)

    def _ask(self, ask: Callable[[], T]) -> T:
        return self._database.until_answered(ask, until=self._lifecycle.leaving)


def _report_late(done: Future[Finished | NotYet], when_late: Callable[[float], None]) -> None:
    try:
        answer = done.result()
    except Leaving:
        return  # the ticket that was parked finds the callback still due
    if isinstance(answer, NotYet):
        when_late(answer.wait_s)
