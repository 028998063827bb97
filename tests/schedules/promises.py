"""Watches a history, and says which promise it broke.

Nothing here raises: a worker may catch whatever a port raises. What was broken stands in `broken`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from grid_async_task.application.envelope import SPARE_TICKET_S
from grid_async_task.domain.callback import Callback, callback_of
from grid_async_task.domain.message import InvalidMessage, MessageLimits, TaskMessage
from grid_async_task.domain.message_parsing import parse_message
from grid_async_task.domain.task import TRANSITIONS, CallbackStatus, Task, TaskStatus
from grid_async_task.ports import OutgoingMessage
from tests.unit.world import QUEUE

if TYPE_CHECKING:
    from tests.schedules.history import History

#: seconds after which everything has to be over, whatever befell the workers; the sweep may take six hours
LATEST_S = 4 * 3600.0
#: seconds in which a ticket may lie in a backlog without being taken for lost
IN_BACKLOG_S = 6 * 3600.0
LIMITS = MessageLimits()


class Promises:
    def __init__(self, history: History) -> None:
        self._history = history
        self.broken: list[str] = []
        #: (task id, attempt) of every execution
        self.executions: list[tuple[str, int]] = []
        #: ids that the broker has accepted
        self.accepted: set[str] = set()
        #: bodies that can't be a task
        self.bad_bodies: set[bytes] = set()
        self.pruned: set[str] = set()
        #: final states by task id: attempt, status, result, failure
        self.finals: dict[str, list[Task]] = {}
        self.cancels = self.revivals = self.snoozes = 0
        self.retries: Counter[str] = Counter()
        self.takeovers: Counter[str] = Counter()
        self.hand_backs: Counter[str] = Counter()
        #: claimed together with others: the loss of their worker counts against none
        self.in_groups: set[str] = set()
        self.received: list[Callback] = []
        self.redelivered = self.redeliver_tries = 0
        self.tickets_were_lost = False
        #: tasks whose spare ticket was served before its command went on
        self.came_too_early: set[str] = set()
        self._wake_at: dict[str, Any] = {}
        #: what the sweep that goes on has found on the queue
        self._backlog: list[OutgoingMessage] = []

    def breach(self, what: str) -> None:
        where = len(self._history.steps) - 1
        self.broken.append(f"{what} (step {where}: {self._history.steps[where] if where >= 0 else 'start'})")

    # -- what happens -------------------------------------------------------------------------------

    def message_put(self, message: OutgoingMessage) -> None:
        if message.queue != QUEUE:
            return
        try:
            if isinstance(parsed := parse_message(message.body, LIMITS), TaskMessage):
                self.accepted.add(parsed.task_id)
        except InvalidMessage:
            self.bad_bodies.add(message.body)
        if self._backlog and self._history.caller.startswith("sweep"):
            self._look_at_swept(message)

    def executed(self, task_id: str, attempt: int) -> None:
        if (task_id, attempt) in self.executions:
            self.breach(f"attempt {attempt} of {task_id} was executed twice")
        self.executions.append((task_id, attempt))
        row = self._history.table._rows[task_id]
        if row.status.is_final and row.attempt >= attempt and not self._may_be_late(row):
            self.breach(f"a final task was executed: {task_id}")

    def callback_received(self, callback: Callback) -> None:
        self.received.append(callback)
        if callback not in map(callback_of, self.finals.get(callback.task_id, [])):
            self.breach("a callback was sent of what is not committed")

    def row_pruned(self, row: Task) -> None:
        self.pruned.add(row.id)
        if not row.status.is_final or row.wake_at is not None or row.id != "old":
            self.breach(f"{row.id} was pruned")

    def row_changed(self, before: Task | None, after: Task) -> None:
        self._look_at_spare_ticket(after)
        if after.status.is_final and (before is None or not before.status.is_final):
            self.finals.setdefault(after.id, []).append(after)
        if before is None:
            return
        if before.status.is_final:
            self._changed_after_the_end(before, after)
        elif before.status is after.status and before.attempt == after.attempt:
            self._renewed(before, after)
        elif after.status not in TRANSITIONS[before.status]:
            self.breach(f"{before.status.value} became {after.status.value}")
        elif after.status is TaskStatus.RUNNING:
            self._claimed(before, after)
        elif before.status is TaskStatus.RUNNING and after.attempt == before.attempt:
            self._settled(before, after)
        elif after.attempt != before.attempt + 1:
            self.breach("a writer that is not the owner did not raise the attempt")

    def after_step(self, name: str) -> None:
        """Everything that is not done has a ticket, at every moment; the sweep's marks change nothing else."""
        for task in self._rows():
            if name == "repository.mark_swept" and self._wake_at.get(task.id) != task.wake_at:
                self.breach(f"the sweep has changed when {task.id} is due")
            self._wake_at[task.id] = task.wake_at
        if not self.tickets_were_lost and (missing := self._without_ticket()):
            self.breach(f"no message for {missing}")

    def tickets_are_lost(self) -> None:
        """By the broker; what has no row yet is lost for good."""
        self.tickets_were_lost = True
        self.accepted &= self._history.table._rows.keys() | {
            task_id
            for task_id in self.accepted
            for message in self._history.broker.waiting_for(QUEUE)
            if _is_about(task_id, message)
        }

    # -- rows ---------------------------------------------------------------------------------------

    def _changed_after_the_end(self, before: Task, after: Task) -> None:
        if after.status is TaskStatus.PENDING and before.status is TaskStatus.FAILED:
            self.revivals += 1
            if before.wake_at is not None:
                self.breach("a task was revived although its callback was due")
            if (after.attempt, after.retry_count, after.crash_count) != (before.attempt + 1, 0, 0):
                self.breach("a revived task does not start anew")
        elif _end_of(before) != _end_of(after):
            self.breach(f"the end of {before.id} was overwritten")

    def _renewed(self, before: Task, after: Task) -> None:
        caller = self._history.caller
        if before.status is TaskStatus.RUNNING and before.wake_at != after.wake_at and caller != before.owner:
            self.breach(f"{caller} has moved the lease of {before.owner}")

    def _claimed(self, before: Task, after: Task) -> None:
        crashed = before.status is TaskStatus.RUNNING
        if after.attempt != before.attempt + 1:
            self.breach("a claim did not raise the attempt by one")
        counts = crashed and after.id not in self.in_groups
        self.in_groups.discard(after.id)
        if after.retry_count != before.retry_count or after.crash_count != before.crash_count + counts:
            self.breach(f"wrongly counted at a claim: {after.retry_count} retries, {after.crash_count} crashes")
        if before.status is TaskStatus.RETRYING and before.wake_at and before.wake_at > self._history.clock.now():
            self.breach("a retry began before it was due")
        if crashed:
            self.takeovers[after.id] += 1
            owner = self._history.processes.get(before.owner or "")
            silent_s = self._history.clock.monotonic() - owner.called_at if owner else 0.0
            # whoever is alive renews within a third of a lease
            if owner is not None and not owner.dead and silent_s < self._history.settings(0.5).lease_seconds / 3:
                self.breach(f"{after.owner} took over from {owner.name}, which is alive")

    def _settled(self, before: Task, after: Task) -> None:
        if self._history.caller != before.owner:
            self.breach(f"{self._history.caller} has settled an attempt of {before.owner}")
        crash_count, retry_count = after.crash_count - before.crash_count, after.retry_count - before.retry_count
        if after.status is TaskStatus.PENDING and after.failure != before.failure:
            crash_count -= 1  # the handler took down the process that it had to itself
        is_snooze = after.status is TaskStatus.RETRYING and after.failure is None
        is_retry = after.status is TaskStatus.RETRYING and not is_snooze
        if (crash_count, retry_count) != (0, int(is_retry)):
            self.breach(f"wrongly counted at an outcome: {retry_count} retries, {crash_count} crashes more")
        self.snoozes += is_snooze
        self.retries[after.id] += is_retry
        self.hand_backs[after.id] += after.status is TaskStatus.PENDING
        if after.status is TaskStatus.RETRYING:
            delay_s = (after.wake_at - self._history.clock.now()).total_seconds() if after.wake_at else 0.0
            if delay_s != self._history.scenario.delay_s:
                self.breach(f"the next attempt is due in {delay_s} s")

    def _may_be_late(self, row: Task) -> bool:
        """Its lease went while it stood still between claim and handler; its outcome will be refused."""
        return self.takeovers[row.id] > 0 or self.cancels > 0

    # -- tickets ------------------------------------------------------------------------------------

    def _without_ticket(self) -> list[str]:
        waiting = self._history.broker.waiting_for(QUEUE)
        missing = [
            task_id
            for task_id in self.accepted
            if task_id not in self.came_too_early
            and self._needs_something(task_id)
            and not any(_is_about(task_id, message) for message in waiting)
        ]
        known = {message.body for message in [*waiting, *self._history.broker.waiting_for(QUEUE + ".dead")]}
        return [*missing, *(repr(body) for body in self.bad_bodies - known)]

    def _needs_something(self, task_id: str) -> bool:
        row = self._history.table._rows.get(task_id)
        if row is None:
            return task_id not in self.pruned
        return row.wake_at is not None or not row.status.is_final

    def _look_at_spare_ticket(self, task: Task) -> None:
        """A command that stood still for longer than its spare ticket may for a moment leave a task without one."""
        command = self._history.processes.get(self._history.caller)
        if command is None or not command.name.startswith(("retry", "redeliver")):
            self.came_too_early.discard(task.id)
        elif self._history.clock.monotonic() - command.began_at >= SPARE_TICKET_S:
            self.came_too_early.add(task.id)

    def somebody_waits(self) -> bool:
        """Whose message was lost by the broker, or never sent."""
        return any(self._needs_something(task.id) for task in self._rows())

    @contextmanager
    def sweeping(self) -> Iterator[None]:
        self._history.broker.ready(QUEUE)  # what has come due is there
        self._backlog = list(self._history.broker.queues[QUEUE])
        try:
            yield
        finally:
            self._backlog = []

    def _look_at_swept(self, message: OutgoingMessage) -> None:
        for task in self._rows():
            in_backlog = any(_is_about(task.id, each) for each in self._backlog)
            can_wait = task.status in (TaskStatus.RUNNING, TaskStatus.RETRYING)
            if _is_about(task.id, message) and can_wait and in_backlog:
                late_s = (self._history.clock.now() - task.wake_at).total_seconds() if task.wake_at else 0.0
                if late_s < IN_BACKLOG_S:
                    self.breach("the sweep took a ticket in a backlog for a lost one")

    # -- once all is quiet --------------------------------------------------------------------------

    def at_the_end(self) -> None:
        if self._history.clock.monotonic() > LATEST_S + 7 * 3600.0 * self.tickets_were_lost:
            self.breach(f"it took {self._history.clock.monotonic()} s")
        for task_id in self.accepted - self.pruned:
            if task_id not in self._history.table._rows:
                self.breach(f"{task_id} was lost")
        for task in self._rows():
            if task.id != "old":
                self._look_at_end_of(task)
        self._look_at_number_of_runs()
        self._look_at_callbacks()

    def _look_at_end_of(self, task: Task) -> None:
        scenario = self._history.scenario
        cancelled = task.failure is not None and task.failure.error_type == "TaskCancelled"
        died_as_message = self.finals[task.id][0].attempt == 0  # the bad message came first: then it counts
        not_helped = "retry" in scenario.then and not self.revivals
        ends = scenario.other_ends.get(task.id, scenario.ends)
        as_expected = task.status is ends or (task.status is TaskStatus.FAILED and not_helped)
        if not as_expected and not died_as_message and not (self.cancels and cancelled):
            self.breach(f"{task.id} is {task.status.value}: {task.failure}")
        if task.wake_at is not None or task.owner is not None:
            self.breach(f"{task.id} has ended, and is due at {task.wake_at} for {task.owner}")
        if len(self.finals.get(task.id, [])) > 1 + self.revivals:
            self.breach(f"{task.id} has ended {len(self.finals[task.id])} times")
        if task.status is TaskStatus.SUCCESS and task.result != {"attempt": task.attempt, "data": task.data}:
            self.breach(f"the result of {task.id} is not of its last attempt: {task.result}")
        if scenario.deadly and not cancelled and task.failure and task.failure.error_type != "WorkerLost":
            self.breach(f"{task.id} failed as {task.failure.error_type}")

    def _look_at_number_of_runs(self) -> None:
        scenario = self._history.scenario
        # of a group, all that has run and is not committed yet runs again
        faults = self._history.costs * scenario.group_size
        for task_id, runs in Counter(task_id for task_id, _ in self.executions).items():
            again = self.takeovers[task_id] + self.retries[task_id] + self.snoozes + self.hand_backs[task_id]
            if runs > 1 + again + self.revivals:
                self.breach(f"{task_id} ran {runs} times without a reason")
        tasks = len({task.id for task in self._rows()} - {"old"})
        if (
            max(self.takeovers.values(), default=0)
            > scenario.extra_runs * scenario.deadly * (1 + self.revivals) + faults
        ):
            self.breach(f"more takeovers than workers were lost: {self.takeovers}")
        wanted = tasks + scenario.extra_runs
        if len(self.executions) > wanted * (1 + self.revivals) + faults:
            self.breach(f"{len(self.executions)} executions: {self.executions}")

    def _look_at_callbacks(self) -> None:
        scenario = self._history.scenario
        ids = Counter(callback.id for callback in self.received)
        for task in self._rows():
            for end in self.finals.get(task.id, []):
                if not task.callback.is_asked or task.id == "old":
                    continue
                given_up = scenario.callback_is_given_up and task.callback_status is CallbackStatus.EXHAUSTED
                if not ids[callback_of(end).id] and not given_up:
                    self.breach(f"no callback for {task.id}, {end.status.value} in attempt {end.attempt}")
        bodies = {callback.id: callback.body for callback in self.received}
        for callback in self.received:
            if bodies[callback.id] != callback.body:
                self.breach("a repeated callback has another body")
            if json.loads(callback.body)["task_id"] != callback.task_id:
                self.breach("a callback is about another task")
        if ids and max(ids.values()) > 1 + self._history.repeats + self.redeliver_tries:
            self.breach(f"{ids} callbacks")
        if self.redelivered and not scenario.callback_is_given_up and max(ids.values()) < 2:
            self.breach("an operator's redelivery did not arrive")

    def _rows(self) -> list[Task]:
        return list(self._history.table._rows.values())


def _end_of(task: Task) -> tuple[Any, ...]:
    return task.status, task.attempt, task.result, task.failure, task.completed_at


def _is_about(task_id: str, message: OutgoingMessage) -> bool:
    return f'"{task_id}"'.encode() in message.body
