"""Telling a dead worker from one that could not reach the database."""

from __future__ import annotations

from grid_async_task.application.lifecycle import Leaving, Lifecycle
from grid_async_task.domain.task import Task
from grid_async_task.ports import Clock, Reading, RepositoryUnavailable, TaskRepository

#: seconds between two looks at the row
LOOK_EVERY_S = 3.0
#: two looks further apart than this many seconds prove nothing: something else may have stood still
MAX_GAP_S = 10.0
#: a lease has to be seen as expired for this share of its length, and at least so many seconds
SHARE_OF_LEASE, AT_LEAST_S = 1 / 3, 5.0


class Takeover:
    """Watches an expired lease before it is taken over.

    A lease that has just expired may belong to a living worker: after an outage of the
    database every lease has. Whoever is alive renews within a third of a lease once the
    database answers, so a row that does not change for that long, while we can read it
    without a break, has lost its worker.
    """

    def __init__(self, repository: TaskRepository, clock: Clock, lifecycle: Lifecycle, lease_s: float) -> None:
        self._repository = repository
        self._clock = clock
        self._lifecycle = lifecycle
        self._must_stand_still_s = max(AT_LEAST_S, lease_s * SHARE_OF_LEASE)

    def is_abandoned(self, seen: Task) -> bool:
        """True when the lease may be taken over; False when the row has changed. Raises `Leaving` at a stop."""
        since: float | None = self._clock.monotonic()
        last = self._clock.monotonic()
        while not self._clock.wait(self._lifecycle.stopping, LOOK_EVERY_S):
            try:
                reading = self._repository.read(seen.id)
            except RepositoryUnavailable:
                since = None
                continue
            now = self._clock.monotonic()
            if not _is_the_same_expired_lease(reading, seen):
                return False
            if since is None or now - last > MAX_GAP_S:
                since = now
            last = now
            if now - since >= self._must_stand_still_s:
                return True
        raise Leaving("stopped while watching the lease of a silent worker")


def _is_the_same_expired_lease(reading: Reading | None, seen: Task) -> bool:
    return (
        reading is not None
        and reading.task.attempt == seen.attempt
        and reading.task.status is seen.status
        and reading.task.wake_at == seen.wake_at
        and reading.task.wake_at is not None
        and reading.task.wake_at <= reading.now
    )
