"""The two commits of a task, for many short tasks at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog

from grid_async_task.application.claims import LATE_SHARE_OF_LEASE, Claims, warn_if_different
from grid_async_task.application.lifecycle import Lifecycle
from grid_async_task.application.patience import Patience
from grid_async_task.domain.message import TaskMessage
from grid_async_task.domain.task import Task
from grid_async_task.domain.verdict import Claimable, Mine, judge
from grid_async_task.ports import Clock, DataRefused, Reading, RepositoryUnavailable, TaskRepository

log = structlog.get_logger(__name__)


class GroupClaims:
    """Claims tasks together, and ends them together; what it is not sure of, each has to be asked for itself."""

    def __init__(
        self,
        claims: Claims,
        repository: TaskRepository,
        database: Patience,
        lifecycle: Lifecycle,
        clock: Clock,
        *,
        owner: str,
        queue: str,
        lease_s: float,
        max_retry_count: int,
    ) -> None:
        self._claims = claims
        self._repository = repository
        self._database = database
        self._lifecycle = lifecycle
        self._clock = clock
        self._owner = owner
        self._queue = queue
        self._lease_s = lease_s
        self._max_retry_count = max_retry_count

    def claim(self, messages: Sequence[TaskMessage]) -> dict[str, Task]:
        """Tasks of different ids by few statements, by id; those that are not in the answer are not ours."""
        began = self._clock.monotonic()
        claimed: list[Task] = []
        try:
            tasks = self._insert(messages)
            is_certain = True
            if tasks is None:
                tasks, is_certain = self._sort_out(messages)
            claimed += tasks
        except (RepositoryUnavailable, DataRefused) as error:
            log.debug("tasks not claimed together", tasks=len(messages), error=str(error))
            is_certain = False
        if self._clock.monotonic() - began > self._lease_s * LATE_SHARE_OF_LEASE:
            claimed = [task for task in claimed if self._claims.renewed(task) is not None]
        if not is_certain:
            known = {task.id for task in claimed}
            claimed += self._found_to_be_ours([each.task_id for each in messages if each.task_id not in known])
        return {task.id: task for task in claimed}

    def succeed(self, tasks: Sequence[Task], results: Sequence[dict[str, Any]]) -> bool:
        """Commit in one go what a group has done; False where each has to be settled for itself."""
        try:
            return self._repository.succeed_together(tasks, results)
        except (RepositoryUnavailable, DataRefused) as error:
            log.debug("tasks not settled together, each for itself now", tasks=len(tasks), error=str(error))
            return False

    def _sort_out(self, messages: Sequence[TaskMessage]) -> tuple[list[Task], bool]:
        """Where some have rows: the new ones, and those that wait for their first attempt; and whether that is all."""
        rows = {reading.task.id: reading for reading in self._repository.read_together([m.task_id for m in messages])}
        new = [message for message in messages if message.task_id not in rows]
        waiting: list[Task] = []
        for message in messages:
            reading = rows.get(message.task_id)
            if reading is not None and self._waits_for_its_first_attempt(reading):
                warn_if_different(message, reading.task)
                waiting.append(reading.task)
        claimed = (self._insert(new) if rows and new else None) or []
        if not waiting:
            return claimed, True
        first_attempts = self._repository.claim_together(
            waiting, owner=self._owner, lease_s=self._lease_s, max_retry_count=self._max_retry_count
        )
        return [*claimed, *(first_attempts or [])], first_attempts is not None

    def _waits_for_its_first_attempt(self, reading: Reading) -> bool:
        verdict = judge(reading.task, reading.now, me=self._owner, queue=self._queue)
        # of a row without a queue only its own claim says whose it is
        return isinstance(verdict, Claimable) and reading.task.attempt == 0 and reading.task.queue == self._queue

    def _insert(self, messages: Sequence[TaskMessage]) -> list[Task] | None:
        return self._repository.insert_claimed_together(
            messages,
            queue=self._queue,
            owner=self._owner,
            lease_s=self._lease_s,
            max_retry_count=self._max_retry_count,
        )

    def _found_to_be_ours(self, task_ids: Sequence[str]) -> list[Task]:
        """Those whose claim was committed and its reply lost: nobody else keeps their leases."""
        rows = self._database.until_answered(
            lambda: self._repository.read_together(task_ids), until=self._lifecycle.leaving
        )
        verdicts = [judge(row.task, row.now, me=self._owner, queue=self._queue) for row in rows]
        ours = [verdict.task for verdict in verdicts if isinstance(verdict, Mine)]
        return [task for task in ours if self._claims.renewed(task) is not None]
