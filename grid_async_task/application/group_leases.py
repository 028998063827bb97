"""Keeps the leases of a whole group while one of its members takes long."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from grid_async_task.application.lease_times import RENEW_AFTER_SHARE, RETRY_AFTER_S, RETRY_AFTER_SHARE
from grid_async_task.domain.task import Task
from grid_async_task.ports import Clock, RepositoryUnavailable, TaskRepository

log = structlog.get_logger(__name__)


class GroupLeases:
    """Members that are not settled yet. Nearly every group is over long before there is anything to renew."""

    def __init__(self, repository: TaskRepository, clock: Clock, *, lease_s: float) -> None:
        self._repository = repository
        self._clock = clock
        self._lease_s = lease_s
        self._claims: Mapping[str, Task] = {}
        self._due_at = 0.0
        self._begin_with = 0

    def begin(self, claims: Mapping[str, Task], claimed_at: float) -> None:
        """`claims` shrinks as members are settled."""
        self._due_at = claimed_at + self._lease_s * RENEW_AFTER_SHARE
        self._claims = claims

    def end(self) -> None:
        self._claims = {}

    def look_after(self) -> None:
        """By the thread of the heartbeat. What becomes of a claim that is lost, its outcome will find out."""
        claims = self._claims
        now = self._clock.monotonic()
        if not claims or now < self._due_at:
            return
        self._due_at = now + self._lease_s * RENEW_AFTER_SHARE
        waiting = list(claims.values())
        first = self._begin_with % len(waiting)
        for number, claim in enumerate([*waiting[first:], *waiting[:first]], start=first + 1):
            try:
                self._repository.renew(claim, lease_s=self._lease_s, progress=None, cancel_known=True)
            except RepositoryUnavailable as error:
                log.debug("leases of a group not renewed, trying again", tasks=len(claims), error=str(error))
                self._due_at = now + min(RETRY_AFTER_S, self._lease_s * RETRY_AFTER_SHARE)
                self._begin_with = number  # one that is locked must not keep the others from their turn
                return
