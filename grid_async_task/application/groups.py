"""Group commit: short tasks share the two commits that each would cost.

What keeps the promises of a single task:

- Only new tasks are claimed together, and only successes that owe nothing end together. All else goes the way
  of a single task, and so does everything once the database answers anything but yes.
- A group holds what its handlers are expected to do within `GROUP_TIME_S`. A success waits no longer than that
  for company, also when the next handler takes an hour: a thread watches over the group.
- Members that are not started in time go back, row and message, so that another worker runs them.
- The loss of a worker says nothing about the members of its group: the row says `grouped`, taking it over costs
  no crash, and it runs alone the next time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import structlog

from grid_async_task.application.attempts import Attempts, Ended
from grid_async_task.application.claims import Claims
from grid_async_task.application.due_time import DUE_HEADER
from grid_async_task.application.envelope import MANY_DELIVERIES
from grid_async_task.application.group import Group, Member, Success
from grid_async_task.application.group_claims import GroupClaims
from grid_async_task.application.group_commits import GroupCommits
from grid_async_task.application.group_leases import GroupLeases
from grid_async_task.application.lifecycle import Leaving, Lifecycle
from grid_async_task.application.pace import GROUP_TIME_S, Pace
from grid_async_task.application.task_fields import fields_of, task_fields
from grid_async_task.application.tickets import Tickets
from grid_async_task.domain.message import InvalidMessage, MessageLimits, TaskMessage
from grid_async_task.domain.message_parsing import parse_message
from grid_async_task.domain.outcome import HandedBack, Succeeded
from grid_async_task.domain.task import LARGE_BODY_BYTES
from grid_async_task.ports import NO_OBSERVER, Clock, Delivery, MessageSource, Observer

#: a member that is not started so many seconds after its claim goes back; with a short lease a share of it
START_WITHIN_S, START_WITHIN_SHARE = 2.0, 1 / 6
#: seconds between two looks at a group that has nothing to wait for but its running handler
LOOK_EVERY_S = 1.0

log = structlog.get_logger(__name__)

#: settles one attempt and does what its ticket needs
Conclude = Callable[[Member, Ended], None]


class Groups:
    def __init__(
        self,
        claims: Claims,
        group_claims: GroupClaims,
        commits: GroupCommits,
        attempts: Attempts,
        source: MessageSource,
        tickets: Tickets,
        pace: Pace,
        leases: GroupLeases,
        lifecycle: Lifecycle,
        clock: Clock,
        *,
        limits: MessageLimits,
        lease_s: float,
        may_group: bool,
        observer: Observer = NO_OBSERVER,
    ) -> None:
        self._claims = claims
        self._group_claims = group_claims
        self._commits = commits
        self._attempts = attempts
        self._source = source
        self._tickets = tickets
        self._pace = pace
        self._leases = leases
        self._lifecycle = lifecycle
        self._clock = clock
        self._limits = limits
        self._start_within_s = min(START_WITHIN_S, lease_s * START_WITHIN_SHARE)
        self._may_group = may_group
        self._observer = observer
        #: the one at work
        self.group: Group | None = None
        self._began = threading.Event()

    @property
    def room(self) -> int:
        """How many messages are worth taking at once at the moment."""
        return self._pace.group_size if self._may_group else 1

    def run(self, deliveries: Sequence[Delivery], conclude: Conclude) -> bool:
        """Run what can be run together; whether there was any. The rest is put aside, to be handled one by one."""
        candidates, alone = self._sorted(deliveries)
        messages = [message for message, _ in candidates]
        tasks = self._group_claims.claim(messages) if len(messages) > 1 else {}
        claimed_at = self._clock.monotonic()
        if not tasks:
            self._source.put_aside(deliveries)
            return False
        alone += [delivery for message, delivery in candidates if message.task_id not in tasks]
        self._source.put_aside(alone)  # before a member runs, which may take long
        log.info("tasks claimed together", tasks=len(tasks))
        self._observer.claimed_together(len(tasks))
        members = [
            Member(delivery, message, tasks[message.task_id])
            for message, delivery in candidates
            if message.task_id in tasks
        ]
        for each in members:
            log.info("message received", task_id=each.task.id, size=len(each.delivery.body))
        group = self.group = Group(members, claimed_at)
        self._leases.begin(group.unsettled, claimed_at)
        self._began.set()
        try:
            while (member := group.start_next()) is not None:
                if self._is_still_ours(group, member):
                    self._run(group, member, conclude)
                if group.seconds_uncommitted(self._clock.monotonic()) >= GROUP_TIME_S:
                    self._commits.commit(group)
            self._commits.commit(group)
        except Exception:
            self._commits.commit(group)  # whatever ends the worker: what has succeeded is not run again for it
            raise
        finally:
            self._began.clear()
            self._leases.end()
            self.group = None
            group.is_over.set()
        self._source.put_aside(group.left_over)
        return True

    def watch(self) -> None:
        """The loop of the thread that watches over groups."""
        while not self._lifecycle.leaving.is_set():
            self._clock.wait(self._began, LOOK_EVERY_S)
            group = self.group
            if group is not None:
                self._watch_over(group)

    # -- in the worker's thread -------------------------------------------------------------------

    def _sorted(self, deliveries: Sequence[Delivery]) -> tuple[list[tuple[TaskMessage, Delivery]], list[Delivery]]:
        """Those that may be new tasks of different ids, and the rest."""
        together: dict[str, tuple[TaskMessage, Delivery]] = {}
        others: list[Delivery] = []
        for delivery in deliveries:
            message = self._candidate(delivery)
            if message is None or message.task_id in together:
                others.append(delivery)
            else:
                together[message.task_id] = (message, delivery)
        return list(together.values()), others

    def _candidate(self, delivery: Delivery) -> TaskMessage | None:
        if delivery.delivery_count >= MANY_DELIVERIES or len(delivery.body) > LARGE_BODY_BYTES:
            return None
        if DUE_HEADER in delivery.headers:
            return None
        try:
            message = parse_message(delivery.body, self._limits)
        except InvalidMessage:
            return None
        return message if isinstance(message, TaskMessage) else None

    def _is_still_ours(self, group: Group, member: Member) -> bool:
        """A member that starts late may have been taken over while this process stood still."""
        if self._clock.monotonic() - group.claimed_at <= self._start_within_s:
            return True
        if self._claims.renewed(member.task) is not None:
            return True
        group.unsettled.pop(member.task.id)
        group.left_over.append(member.delivery)
        return False

    def _run(self, group: Group, member: Member, conclude: Conclude) -> None:
        task = member.task
        with (
            self._observer.attempt(task, member.delivery.headers) as trace,
            task_fields(**fields_of(task), **trace),
        ):
            log.info("task claimed")
            try:
                ended = self._attempts.run(task)
                if isinstance(ended.outcome, Succeeded) and not task.callback.is_asked and ended.progress is None:
                    group.succeeded(Success(member, ended.outcome.result), self._clock.monotonic())
                else:
                    conclude(member, ended)
                    group.unsettled.pop(task.id)
            finally:
                self._attempts.forget()

    # -- in the watching thread -------------------------------------------------------------------

    def _watch_over(self, group: Group) -> None:
        wait_s = GROUP_TIME_S
        while not self._clock.wait(group.is_over, wait_s) and not self._lifecycle.leaving.is_set():
            try:
                self.look_after(group)
            except Leaving:
                return  # what is not committed is run again, by whoever gets its message
            except Exception:  # whatever it is: the worker's own thread commits the rest
                log.exception("watching over a group failed, trying again")
            idle = not group.has_unstarted and not group.seconds_uncommitted(self._clock.monotonic())
            wait_s = LOOK_EVERY_S if idle else GROUP_TIME_S

    def look_after(self, group: Group) -> None:
        """While a member runs: commit what has waited for long enough, hand back what is not started in time."""
        now = self._clock.monotonic()
        if group.seconds_uncommitted(now) >= GROUP_TIME_S:
            self._commits.commit(group)
        if now - group.claimed_at >= self._start_within_s or self._lifecycle.stopping.is_set():
            while (member := group.start_next()) is not None:
                log.info("task not started in time, handing it back", task_id=member.task.id)
                self._claims.settle(member.task, HandedBack(), None)
                group.unsettled.pop(member.task.id)
                self._tickets.give_back(member.delivery)
