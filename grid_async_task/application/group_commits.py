"""The commit of what a group has done, by whichever of its two threads comes first."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from grid_async_task.application.claims import Claims
from grid_async_task.application.group import Group, Success
from grid_async_task.application.group_claims import GroupClaims
from grid_async_task.application.task_fields import fields_of
from grid_async_task.application.tickets import Tickets
from grid_async_task.domain.failure import Failure
from grid_async_task.domain.outcome import Failed, Succeeded
from grid_async_task.domain.task import Task
from grid_async_task.ports import NO_OBSERVER, Observer

log = structlog.get_logger(__name__)


class GroupCommits:
    """Commits successes together, or, where that is refused, one by one; then acknowledges them."""

    def __init__(
        self,
        claims: Claims,
        group_claims: GroupClaims,
        tickets: Tickets,
        *,
        on_failed: Callable[[Task, Failure], None],
        observer: Observer = NO_OBSERVER,
    ) -> None:
        self._claims = claims
        self._group_claims = group_claims
        self._tickets = tickets
        self._on_failed = on_failed
        self._observer = observer

    def commit(self, group: Group) -> None:
        """All that has succeeded so far. Raises `Leaving` at a stop without a database: nothing is lost by that."""
        with group.committing:
            successes = group.successes()
            if not successes:
                return
            try:
                committed = self._committed(group, successes)
            except BaseException:
                group.put_back(successes)  # for whoever commits next
                raise
            for success in successes:
                group.unsettled.pop(success.member.task.id)
        for success in committed:
            log.info("task succeeded", **fields_of(success.member.task))
            self._observer.settled(success.member.task, Succeeded(success.result))
        self._tickets.ack_all([success.member.delivery for success in committed])

    def _committed(self, group: Group, successes: list[Success]) -> list[Success]:
        tasks = [success.member.task for success in successes]
        if self._group_claims.succeed(tasks, [success.result for success in successes]):
            return successes
        return [success for success in successes if self._is_settled(group, success)]

    def _is_settled(self, group: Group, success: Success) -> bool:
        task, outcome = success.member.task, Succeeded(success.result)
        settled = self._claims.settle(task, outcome, None)
        if settled == outcome:
            return True
        if isinstance(settled, Failed):  # the database refused the result
            failure = settled.failure
            log.error("task failed", error_type=failure.error_type, error=failure.message, **fields_of(task))
            self._observer.settled(task, settled)
            self._on_failed(task, failure)
        else:
            log.warning("claim lost, the result of this attempt is not kept", **fields_of(task))
            self._observer.claim_lost(task)
        group.left_over.append(success.member.delivery)  # the row says what its message has to do now
        return False
