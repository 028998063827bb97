"""Workers with one rule left out. Each says in which scenario, and with which faults, it has to be caught.

The rules and what they cost when they are missing stand in the design; a rule that can be left out
without a broken promise is either not needed or not tested.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from grid_async_task.adapters.memory import MemoryMessageSource, MemoryTaskRepository
from grid_async_task.application import callbacks as callbacks_module
from grid_async_task.application import claims, group_claims, sweep
from grid_async_task.application.attempts import Ended
from grid_async_task.application.callbacks import Callbacks
from grid_async_task.application.claims import Claims
from grid_async_task.application.client import Client
from grid_async_task.application.dead_letters import DeadLetters
from grid_async_task.application.envelope import message_of
from grid_async_task.application.group import Group, Member
from grid_async_task.application.group_commits import GroupCommits
from grid_async_task.application.group_leases import GroupLeases
from grid_async_task.application.heartbeat import Heartbeat
from grid_async_task.application.takeover import Takeover
from grid_async_task.application.tickets import Tickets
from grid_async_task.application.worker import Worker
from grid_async_task.domain.callback import Callback, callback_of
from grid_async_task.domain.message import TaskMessage
from grid_async_task.domain.outcome import HandedBack, RetryLater, Succeeded
from grid_async_task.domain.task import Task, TaskStatus
from grid_async_task.domain.verdict import Claimable, Finished, Mine, NotYet, Verdict, judge
from grid_async_task.ports import Delivery, OutgoingMessage, Renewal, RepositoryUnavailable

Patch = pytest.MonkeyPatch


@dataclass(frozen=True)
class Wrong:
    leave_out: Callable[[Patch], None]
    #: where it is caught: the scenario, one fault or none, and another one after it or none
    scenario: str
    first: tuple[str, ...] = ()
    second: tuple[str, ...] = ()
    #: only at such calls does the first one
    at: str = ""


WRONG: dict[str, Wrong] = {}
CRASH = ("crash-before", "crash-after")


def caught_in(
    scenario: str, first: tuple[str, ...] = (), second: tuple[str, ...] = (), at: str = ""
) -> Callable[[Callable[[Patch], None]], None]:
    def register(leave_out: Callable[[Patch], None]) -> None:
        WRONG[leave_out.__name__] = Wrong(leave_out, scenario, first, second, at)

    return register


def _judging(patch: Patch, change: Callable[[Task, Verdict], Verdict]) -> None:
    def wrong(task: Task, now: datetime, *, me: str, queue: str) -> Verdict:
        return change(task, judge(task, now, me=me, queue=queue))

    for module in (claims, group_claims):
        patch.setattr(module, "judge", wrong)


# -- tickets and acknowledgements -----------------------------------------------------------------------


@caught_in("success", CRASH)
def ack_before_commit(patch: Patch) -> None:
    handle = Worker.handle

    def wrong(self: Worker, delivery: Delivery) -> None:
        self._source.ack(delivery)
        handle(self, delivery)

    patch.setattr(Worker, "handle", wrong)


@caught_in("retry")
def ack_before_the_ticket_is_parked(patch: Patch) -> None:
    def wrong(self: Tickets, delivery: Delivery, message: OutgoingMessage) -> None:
        self._source.ack(delivery)
        self.publish(message)

    patch.setattr(Tickets, "_replace", wrong)


@caught_in("success", ("both-away", "redelivered"))
def message_of_a_running_task_is_acked(patch: Patch) -> None:
    """'Someone is on it': but it may be the owner's own ticket, and the owner may die."""
    _judging(
        patch,
        lambda task, verdict: (
            Finished() if task.status is TaskStatus.RUNNING and isinstance(verdict, NotYet) else verdict
        ),
    )


@caught_in("callback fails at first", CRASH)
def message_of_a_callback_not_yet_due_is_acked(patch: Patch) -> None:
    _judging(
        patch,
        lambda task, verdict: Finished() if task.status.is_final and isinstance(verdict, NotYet) else verdict,
    )


@caught_in("retry", CRASH)
def retry_keeps_no_ticket(patch: Patch) -> None:
    """As with a timer in the process instead of a delayed message."""
    patch.setattr(Tickets, "park", lambda self, delivery, wait_s: self.ack(delivery))


@caught_in("success", ("database-away",))
def requeue_while_the_database_is_away(patch: Patch) -> None:
    patch.setattr(Claims, "_ask", lambda self, ask: ask())
    handle = Worker.handle

    def wrong(self: Worker, delivery: Delivery) -> None:
        try:
            handle(self, delivery)
        except RepositoryUnavailable:
            self._tickets.give_back(delivery)

    patch.setattr(Worker, "handle", wrong)


@caught_in("operator's retry", CRASH)
def operators_retry_commits_before_it_has_a_ticket(patch: Patch) -> None:
    def wrong(self: Client, task_id: str) -> bool:
        task = self.get_task(task_id)
        if task is None or not self._table.retry_failed(task):
            return False
        self._broker.publish(message_of(task))
        self._table.clear_owed(task.id, task.attempt + 1)
        return True

    patch.setattr(Client, "retry_task", wrong)


@caught_in("operator's retry", ("beside",), CRASH, at="repository.clear_owed")
def owed_mark_is_cleared_whatever_the_row(patch: Patch) -> None:
    def wrong(self: MemoryTaskRepository, task_id: str, attempt: int) -> bool:
        self._keep(replace(self._rows[task_id], wake_at=None))
        return True

    patch.setattr(MemoryTaskRepository, "clear_owed", wrong)


# -- leases, claims, fences -----------------------------------------------------------------------------


@caught_in("long", ("pause-redelivered",))
def no_fence(patch: Patch) -> None:
    def wrong(self: MemoryTaskRepository, claim: Task, change: Callable[[Task], Task]) -> Task | None:
        row = self._rows[claim.id]
        return self._keep(change(replace(row, status=TaskStatus.RUNNING)))

    patch.setattr(MemoryTaskRepository, "_swap_fenced", wrong)


@caught_in("long", ("pause-redelivered",))
def takeover_does_not_raise_the_attempt(patch: Patch) -> None:
    claimed = Task.claimed
    patch.setattr(
        Task,
        "claimed",
        lambda self, *args, crashed: replace(
            claimed(self, *args, crashed=crashed), attempt=max(1, self.attempt + (not crashed))
        ),
    )


@caught_in("long", ("database-away-second-worker",))
def takeover_right_after_an_outage(patch: Patch) -> None:
    patch.setattr(Takeover, "is_abandoned", lambda self, seen: True)


@caught_in("long", ("database-away", "both-away"))
def failing_heartbeat_stops_the_handler(patch: Patch) -> None:
    beat = Heartbeat.beat

    def wrong(self: Heartbeat) -> None:
        beat(self)
        if self._failing and self._attempt is not None:
            self._attempt.lose_claim()

    patch.setattr(Heartbeat, "beat", wrong)


@caught_in("long", ("database-away",))
def heartbeat_does_not_revive_an_expired_lease(patch: Patch) -> None:
    renew = MemoryTaskRepository.renew

    def wrong(self: MemoryTaskRepository, claim: Task, **kwargs: Any) -> Renewal:
        return Renewal.LOST if self._is_past(self._rows[claim.id].wake_at) else renew(self, claim, **kwargs)

    patch.setattr(MemoryTaskRepository, "renew", wrong)


@caught_in("success", ("database-away-reply-lost",))
def claim_whose_reply_was_lost_is_taken_for_another_s(patch: Patch) -> None:
    _judging(patch, lambda task, verdict: NotYet(60.0) if isinstance(verdict, Mine) else verdict)


@caught_in("retry", ("acked-again", "redelivered", "requeue"))
def retry_without_its_due_time_in_the_claim(patch: Patch) -> None:
    _judging(
        patch,
        lambda task, verdict: (
            Claimable(task) if task.status is TaskStatus.RETRYING and isinstance(verdict, NotYet) else verdict
        ),
    )
    patch.setattr(MemoryTaskRepository, "_is_past", lambda self, moment: True)


@caught_in("retry", ("crash-before",))
def crash_costs_a_retry(patch: Patch) -> None:
    claimed = Task.claimed
    patch.setattr(
        Task,
        "claimed",
        lambda self, *args, crashed: replace(
            claimed(self, *args, crashed=crashed), retry_count=self.retry_count + crashed
        ),
    )


@caught_in("worker lost")
def crashes_are_not_counted(patch: Patch) -> None:
    claimed = Task.claimed
    patch.setattr(Task, "claimed", lambda self, *args, crashed: claimed(self, *args, crashed=False))


@caught_in("long", ("interrupt",))
def hand_back_costs_a_retry(patch: Patch) -> None:
    settled = Task.settled

    def wrong(self: Task, outcome: Any, now: datetime, progress: Any) -> Task:
        row = settled(self, outcome, now, progress)
        return replace(row, retry_count=row.retry_count + 1) if isinstance(outcome, HandedBack) else row

    patch.setattr(Task, "settled", wrong)


@caught_in("retry")
def retry_counts_twice(patch: Patch) -> None:
    settled = Task.settled

    def wrong(self: Task, outcome: Any, now: datetime, progress: Any) -> Task:
        row = settled(self, outcome, now, progress)
        return replace(row, retry_count=row.retry_count + 1) if isinstance(outcome, RetryLater) else row

    patch.setattr(Task, "settled", wrong)


@caught_in("success", ("acked-again",))
def message_that_comes_once_more_makes_a_new_row(patch: Patch) -> None:
    patch.setattr(
        MemoryTaskRepository,
        "insert_claimed",
        lambda self, message, *, queue, owner, lease_s, max_retry_count: self._keep(
            Task.pending(message, queue, self._now()).claimed(owner, self._now(), lease_s, 0, crashed=False)
        ),
    )


@caught_in("retry", ("cancel",))
def cancel_does_not_raise_the_attempt(patch: Patch) -> None:
    failed = Task.failed_unrun
    patch.setattr(
        Task, "failed_unrun", lambda self, failure, now: replace(failed(self, failure, now), attempt=self.attempt)
    )


# -- callbacks ------------------------------------------------------------------------------------------


@caught_in("callback", CRASH)
def no_outbox(patch: Patch) -> None:
    """The callback is sent once, after the outcome, and nobody remembers that it is owed."""
    settled = Task.settled
    patch.setattr(
        Task,
        "settled",
        lambda self, outcome, now, progress: replace(settled(self, outcome, now, progress), wake_at=None),
    )


@caught_in("callback fails at first")
def due_callback_keeps_no_ticket(patch: Patch) -> None:
    deliver = Callbacks.deliver
    patch.setattr(Callbacks, "deliver", lambda self, task, late: deliver(self, task, late) and Finished())


@caught_in("callback", ("crash-before",))
def callback_before_commit(patch: Patch) -> None:
    run = Worker._run

    def wrong(self: Worker, task: Task) -> Any:
        def send_and_settle(task: Task, outcome: Any, progress: Any) -> Any:
            end = task.settled(outcome, self._claims._clock.now(), progress)
            if end.status.is_final and task.callback.is_asked:
                self._callbacks._senders[task.callback.type].send(callback_of(end))
            return Claims.settle(self._claims, task, outcome, progress)

        self._claims.settle = send_and_settle  # type: ignore[method-assign]
        return run(self, task)

    patch.setattr(Worker, "_run", wrong)


@caught_in("callback", CRASH)
def every_try_has_an_id_of_its_own(patch: Patch) -> None:
    def wrong(task: Task) -> Callback:
        callback = callback_of(task)
        return replace(callback, id=f"{callback.id}-{task.callback_attempts}")

    patch.setattr(callbacks_module, "callback_of", wrong)


@caught_in("callback", ("crash-before",))
def a_take_counts_as_a_failed_try(patch: Patch) -> None:
    """Counted, crashed, never sent."""
    patch.setattr(Callbacks, "_max_takes", property(lambda self: 1, lambda self, value: None), raising=False)


@caught_in("callback", ("acked-again", "redelivered", "beside"))
def taken_callback_is_not_held(patch: Patch) -> None:
    take = MemoryTaskRepository.take_callback

    def wrong(self: MemoryTaskRepository, seen: Task, *, hold_s: float) -> Task | None:
        taken = take(self, seen, hold_s=0.0)
        return taken and self._keep(replace(taken, callback_attempts=seen.callback_attempts))

    patch.setattr(MemoryTaskRepository, "take_callback", wrong)


# -- the sweep, dead letters ----------------------------------------------------------------------------


@caught_in("backlog", ("sweep",))
def sweep_takes_a_ticket_in_a_backlog_for_lost(patch: Patch) -> None:
    patch.setattr(sweep, "LOST_IN_BACKLOG_AFTER_S", sweep.LOST_AFTER_S)


@caught_in("callback", ("sweep",))
def sweep_moves_the_due_time(patch: Patch) -> None:
    mark = MemoryTaskRepository.mark_swept

    def wrong(self: MemoryTaskRepository, task: Task) -> bool:
        marked = mark(self, task)
        self._rows[task.id] = replace(self._rows[task.id], wake_at=self._now() + timedelta(seconds=300))
        return marked

    patch.setattr(MemoryTaskRepository, "mark_swept", wrong)


@caught_in("bad over good")
def bad_message_fails_a_good_row(patch: Patch) -> None:
    def wrong(self: MemoryTaskRepository, message: TaskMessage, *, queue: str, failure: Any) -> bool:
        row = self._rows.get(message.task_id) or Task.pending(message, queue, self._now())
        self._keep(replace(row, status=TaskStatus.FAILED, failure=failure, result=None))
        return True

    patch.setattr(MemoryTaskRepository, "record_invalid", wrong)


@caught_in("bad first", CRASH)
def bad_message_is_acked_before_it_is_buried(patch: Patch) -> None:
    bury = DeadLetters.bury

    def wrong(self: DeadLetters, delivery: Delivery, reason: Any) -> Any:
        self._tickets.ack(delivery)
        return bury(self, delivery, reason)

    patch.setattr(DeadLetters, "bury", wrong)


@caught_in("bad over good", CRASH)
def bad_message_is_dropped(patch: Patch) -> None:
    patch.setattr(Worker, "_bury", lambda self, delivery, reason: self._tickets.ack(delivery))


# -- groups ---------------------------------------------------------------------------------------------


@caught_in("group with a deadly task")
def loss_of_a_group_counts_against_each_member(patch: Patch) -> None:
    claimed = Task.claimed
    patch.setattr(Task, "claimed", lambda self, *args, **kwargs: claimed(self, *args, **{**kwargs, "grouped": False}))


@caught_in("group", CRASH)
def group_is_acked_before_its_commit(patch: Patch) -> None:
    commit = GroupCommits.commit

    def wrong(self: GroupCommits, group: Group) -> None:
        self._tickets.ack_all([success.member.delivery for success in group._successes])
        commit(self, group)

    patch.setattr(GroupCommits, "commit", wrong)


@caught_in("group of each kind", CRASH)
def multiple_is_acked_over_a_tag_that_is_still_held(patch: Patch) -> None:
    def wrong(self: MemoryMessageSource, deliveries: Sequence[Delivery]) -> None:
        highest = max(delivery.receipt for delivery in deliveries)
        for receipt, hand in list(self._broker.in_hand.items()):
            if hand.source is self and receipt <= highest:
                del self._broker.in_hand[receipt]

    def without_following(self: Worker, member: Member, ended: Ended) -> None:
        later.append((self, member, ended))

    commit = GroupCommits.commit

    def commit_then_follow(self: GroupCommits, group: Group) -> None:
        commit(self, group)
        while later:
            worker, member, ended = later.pop(0)
            conclude(worker, member, ended)

    later: list[tuple[Worker, Member, Ended]] = []
    conclude = Worker._conclude
    patch.setattr(MemoryMessageSource, "ack_all", wrong)
    patch.setattr(Worker, "_conclude", without_following)
    patch.setattr(GroupCommits, "commit", commit_then_follow)


@caught_in("group", ("pause-redelivered",))
def group_commits_without_a_fence(patch: Patch) -> None:
    def wrong(self: MemoryTaskRepository, claims: Sequence[Task], results: Sequence[dict[str, Any]]) -> bool:
        for claim, result in zip(claims, results, strict=True):
            row = replace(self._rows[claim.id], status=TaskStatus.RUNNING)
            self._keep(row.settled(Succeeded(result), self._now(), None))
        return True

    patch.setattr(MemoryTaskRepository, "succeed_together", wrong)


@caught_in("group with a long task", ("redelivered",))
def leases_of_a_group_are_not_renewed(patch: Patch) -> None:
    patch.setattr(GroupLeases, "look_after", lambda self: None)


@caught_in("group with a long task")
def member_that_was_handed_back_is_run_all_the_same(patch: Patch) -> None:
    start_next = Group.start_next

    def wrong(self: Group) -> Member | None:
        member = start_next(self)
        if member is not None and member not in handed_back:
            handed_back.append(member)
            self._unstarted.append(member)
        return member

    handed_back: list[Member] = []
    patch.setattr(Group, "start_next", wrong)


@caught_in("group", ("database-away-reply-lost",))
def lost_reply_of_a_group_claim_is_taken_for_a_claim_of_others(patch: Patch) -> None:
    _judging(patch, lambda task, verdict: NotYet(60.0) if isinstance(verdict, Mine) and task.grouped else verdict)
