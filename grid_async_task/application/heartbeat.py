"""Keeps the lease of the running task, and carries its progress along."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from grid_async_task.application.group_leases import GroupLeases
from grid_async_task.application.lease_times import RENEW_AFTER_SHARE, RETRY_AFTER_S, RETRY_AFTER_SHARE
from grid_async_task.application.lifecycle import Lifecycle
from grid_async_task.application.running_attempt import RunningAttempt
from grid_async_task.domain.progress import Progress
from grid_async_task.ports import Clock, Renewal, RepositoryUnavailable, TaskRepository

#: a task that runs for so many seconds gives back the messages that were fetched behind it
LONG_RUN_S = 2.0
#: seconds the thread sleeps at most, so that a report does not have to wake it
IDLE_S = 1.0

log = structlog.get_logger(__name__)


class Heartbeat:
    """One fenced UPDATE does it all: lease, newest progress, and whether somebody asked for a cancel.

    A heartbeat that fails never stops a handler. One that is refused does: the claim is lost.
    """

    def __init__(
        self,
        repository: TaskRepository,
        clock: Clock,
        lifecycle: Lifecycle,
        group_leases: GroupLeases,
        *,
        lease_s: float,
        progress_interval_s: float,
        on_long_run: Callable[[], object],
    ) -> None:
        self._repository = repository
        self._clock = clock
        self._lifecycle = lifecycle
        self._group_leases = group_leases
        self._lease_s = lease_s
        self._progress_interval_s = progress_interval_s
        self._on_long_run = on_long_run
        self._attempt: RunningAttempt | None = None
        self._started_at = self._renewed_at = 0.0
        self._is_known_as_long = False
        self._tried_at = 0.0
        self._written: Progress | None = None
        self._wake = threading.Event()
        self._failing = False
        #: when the loop last turned; None before it began
        self._turned_at: float | None = None

    def start(self, attempt: RunningAttempt) -> None:
        """The claim was just committed: from now on its lease is kept."""
        self._started_at = self._renewed_at = self._tried_at = self._clock.monotonic()
        self._is_known_as_long = False
        self._written = None
        self._attempt = attempt

    def stop(self) -> None:
        self._attempt = None

    def first_report(self) -> None:
        """The first progress of an attempt is written at once."""
        self._wake.set()

    def run(self) -> None:
        """The loop of the heartbeat's thread."""
        self._turned_at = self._clock.monotonic()
        while not self._lifecycle.leaving.is_set():
            self._clock.wait(self._wake, min(IDLE_S, self._seconds_to_next()))
            self._wake.clear()
            self._turned_at = self._clock.monotonic()
            try:
                self._look_after_attempt()
            except Exception:  # whatever it is: a task whose lease nobody renews is run twice
                log.exception("heartbeat failed unexpectedly, trying again; the task goes on")
                self._failing = True
                self._tried_at = self._clock.monotonic()

    @property
    def silent_s(self) -> float:
        """Seconds since its loop last turned; 0 before it began."""
        return 0.0 if self._turned_at is None else self._clock.monotonic() - self._turned_at

    @property
    def running_s(self) -> float | None:
        """Seconds since the attempt began that is kept alive; None while none is."""
        return None if self._attempt is None else self._clock.monotonic() - self._started_at

    @property
    def lease_age_s(self) -> float:
        """Seconds since the lease was renewed last."""
        return self._clock.monotonic() - self._renewed_at

    @property
    def is_failing(self) -> bool:
        """Whether the last try to renew a lease failed."""
        return self._failing and self._attempt is not None

    def beat(self) -> None:
        """Renew now."""
        attempt = self._attempt
        if attempt is None:
            return
        began = self._clock.monotonic()
        self._tried_at = began
        progress = attempt.newest_progress
        try:
            renewal = self._repository.renew(
                attempt.task, lease_s=self._lease_s, progress=progress, cancel_known=attempt.cancel_requested
            )
        except RepositoryUnavailable as error:
            if not self._failing:
                self._failing = True
                log.warning(
                    "heartbeat failed, trying again; the task goes on",
                    task_id=attempt.task_id,
                    attempt=attempt.number,
                    error=str(error),
                )
            return
        if self._failing:
            self._failing = False
            log.info("heartbeat works again", task_id=attempt.task_id, attempt=attempt.number)
        if self._attempt is not attempt:
            return  # it has ended meanwhile, and its outcome is on its way
        self._renewed_at = began
        if progress is not None and progress != self._written:
            log.debug(
                "progress",
                task_id=attempt.task_id,
                attempt=attempt.number,
                percent=progress.percent,
                message=progress.message,
            )
        self._written = progress
        if renewal is Renewal.CANCEL_REQUESTED:
            log.info("cancel requested", task_id=attempt.task_id, attempt=attempt.number)
            attempt.cancel_requested = True
        elif renewal is Renewal.LOST:
            log.warning("claim lost, stopping the handler", task_id=attempt.task_id, attempt=attempt.number)
            attempt.lose_claim()

    def _look_after_attempt(self) -> None:
        if self._attempt is not None:
            self._notice_long_run()
            if self._seconds_to_next() <= 0:
                self.beat()
        self._group_leases.look_after()

    def _notice_long_run(self) -> None:
        if not self._is_known_as_long and self._clock.monotonic() - self._started_at >= LONG_RUN_S:
            self._is_known_as_long = True
            self._on_long_run()

    def _seconds_to_next(self) -> float:
        attempt = self._attempt
        if attempt is None or attempt.claim_lost:
            return IDLE_S
        if self._failing:
            due = self._tried_at + min(RETRY_AFTER_S, self._lease_s * RETRY_AFTER_SHARE)
        else:
            due = self._renewed_at + self._lease_s * RENEW_AFTER_SHARE
            newest = attempt.newest_progress
            if newest is not None and newest != self._written:
                first = self._written is None
                due = min(due, self._renewed_at if first else self._tried_at + self._progress_interval_s)
        return max(0.0, due - self._clock.monotonic())
