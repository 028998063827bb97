"""A group and what goes on around it: messages beside it, idle time, stops, pauses, and what ends a worker."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from dependency_injector import providers

from grid_async_task.adapters.memory import RecordingNotifier
from grid_async_task.application.lifecycle import Leaving
from grid_async_task.application.pace import GROUP_TIME_S
from grid_async_task.domain.errors import ConfigurationError
from grid_async_task.domain.message import TaskMessage
from grid_async_task.domain.outcome import Failed, HandedBack, Succeeded
from grid_async_task.domain.task import Task
from grid_async_task.ports import DataRefused, Observer, RepositoryUnavailable
from tests.unit.test_groups import QUEUE, Handler, Site


def handed_back_before(site: Site, *ids: str) -> None:
    """Rows that a group does not take, since they are not on their first attempt."""
    site.table.record_pending([TaskMessage(task_id) for task_id in ids], [QUEUE] * len(ids))
    for task_id in ids:
        claim = site.table.claim(site.row(task_id), owner="x", lease_s=60, max_retry_count=0, crashed=False)
        assert claim is not None
        assert site.table.settle(claim, HandedBack(), None)


def do(site: Site, task_id: str, what: Any) -> None:
    site.handler.what[task_id] = what  # type: ignore[attr-defined]


def test_messages_that_were_taken_beside_a_group_go_to_others_while_a_member_takes_long() -> None:
    site = Site(Handler())
    handed_back_before(site, "r")
    container = site.container()
    ready: list[Any] = []

    def long() -> None:
        groups = container.groups()
        site.clock.advance(3600)
        container.heartbeat()._look_after_attempt()
        assert groups.group is not None
        groups.look_after(groups.group)
        ready.append(sorted(message.body for message in site.broker.queues[QUEUE]))

    do(site, "a", long)
    site.send(*"abr")
    container.worker().run()
    assert ready == [[b'{"task_id": "b"}', b'{"task_id": "r"}']]


def test_messages_that_go_one_by_one_do_not_wait_behind_a_long_one_either() -> None:
    site = Site(Handler())
    handed_back_before(site, *"abcd")
    container = site.container()
    ready: list[int] = []

    def long() -> None:
        site.clock.advance(3600)
        container.heartbeat()._look_after_attempt()
        ready.append(len(site.broker.queues[QUEUE]))

    do(site, "a", long)
    site.send(*"abcd")
    container.worker().run()
    assert ready == [3]


def test_claims_whose_reply_was_lost_are_kept_while_one_of_them_takes_long() -> None:
    site = Site(Handler())
    site.table.lose_reply_of.add("insert_claimed_together")
    container = site.container()
    left_s: list[float] = []

    def long() -> None:
        for _ in range(10):
            site.clock.advance(21)
            container.heartbeat()._look_after_attempt()
        reading = site.table.read("b")
        assert reading is not None
        assert reading.task.wake_at is not None
        left_s.append((reading.task.wake_at - reading.now).total_seconds())

    do(site, "a", long)
    site.send(*"abc")
    container.worker().run()
    assert left_s[0] > 0
    assert site.handler.ran == [("a", 1), ("b", 1), ("c", 1)]  # type: ignore[attr-defined]


def test_groups_are_work_and_no_idle_time() -> None:
    site = Site(Handler(), idle_timeout=2)
    container = site.container()
    source = container.source()
    take_next, bursts = source.next, iter(range(10))

    def next_one(timeout_s: float) -> Any:
        if not site.broker.queues[QUEUE]:
            site.clock.advance(1.0)
            if (burst := next(bursts, None)) is not None:
                site.send(*(f"{name}{burst}" for name in "abc"))
        return take_next(0)

    source.next = next_one
    container.worker().run()
    assert len(site.handler.ran) == 30  # type: ignore[attr-defined]


@pytest.mark.parametrize("error", [Leaving("no broker at a stop"), ConfigurationError("no handler any more")])
def test_a_success_is_committed_although_the_next_member_ends_the_worker(error: Exception) -> None:
    def fail() -> None:
        raise ValueError("no")

    site = Site(Handler({"b": fail}), max_retry_count=1)
    container = site.container()

    def end(*_: Any) -> None:
        raise error

    container.tickets().park = end
    site.send(*"abc")
    with contextlib.suppress(ConfigurationError):
        container.worker().run()
    assert site.statuses()["a"] == "success"


def test_a_result_that_the_database_refuses_is_told_as_a_failure() -> None:
    class Told(Observer):
        def claim_lost(self, task: Task) -> None:
            told.append((task.id, None))

        def settled(self, task: Task, outcome: Any) -> None:
            told.append((task.id, type(outcome)))

    told: list[Any] = []
    site = Site(Handler())
    container, notifier = site.container(), RecordingNotifier()
    container.notifier.override(providers.Object(notifier))
    container.observer.override(providers.Object(Told()))
    settle = site.table.settle

    def refuse_together(*_: Any) -> bool:
        raise DataRefused("too large")

    def refuse_one(claim: Task, outcome: Any, progress: Any) -> bool:
        if isinstance(outcome, Succeeded) and claim.id == "b":
            raise DataRefused("too large")
        return settle(claim, outcome, progress)

    site.table.succeed_together = refuse_together  # type: ignore[method-assign]
    site.table.settle = refuse_one  # type: ignore[method-assign]
    site.send(*"abc")
    container.worker().run()
    assert site.statuses() == {"a": "success", "b": "failed", "c": "success"}
    assert sorted(told, key=str) == sorted([("a", Succeeded), ("b", Failed), ("c", Succeeded)], key=str)
    assert [notice.facts["task id"] for notice in notifier.notices] == ["b"]
    assert site.broker.waiting_for(QUEUE) == []


def test_after_a_stop_no_message_that_was_taken_is_begun() -> None:
    site = Site(Handler())
    handed_back_before(site, *"abcd")
    container = site.container()
    do(site, "a", container.worker().stop)
    site.send(*"abcd")
    container.worker().run()
    assert [site.row(name).attempt for name in "abcd"] == [2, 1, 1, 1]
    assert len(site.broker.waiting_for(QUEUE)) == 3


def test_a_member_that_was_taken_over_while_its_process_stood_still_is_not_run() -> None:
    def stand_still() -> None:
        site.clock.advance(120)
        other = site.table.claim(site.row("b"), owner="other", lease_s=60, max_retry_count=0, crashed=False)
        assert other is not None
        assert site.table.settle(other, Succeeded({"by": "other"}), None)

    site = Site(Handler({"a": stand_still}))
    site.send(*"ab")
    site.container().worker().run()
    assert site.handler.ran == [("a", 1)]  # type: ignore[attr-defined]
    assert site.row("b").result == {"by": "other"}
    assert site.broker.waiting_for(QUEUE) == []


def test_an_unexpected_error_in_the_watching_thread_loses_no_success() -> None:
    site = Site(Handler())
    container = site.container()
    together = site.table.succeed_together
    errors = [RuntimeError("unexpected")]

    def fails_once(*arguments: Any) -> bool:
        if errors:
            raise errors.pop()
        return together(*arguments)

    site.table.succeed_together = fails_once  # type: ignore[method-assign]

    def long() -> None:
        site.clock.advance(GROUP_TIME_S)
        groups = container.groups()
        assert groups.group is not None
        with contextlib.suppress(RuntimeError):
            groups.look_after(groups.group)

    do(site, "b", long)
    site.send(*"abc")
    container.worker().run()
    assert site.statuses() == dict.fromkeys("abc", "success")
    assert site.broker.waiting_for(QUEUE) == []


def test_one_lease_that_can_not_be_renewed_does_not_cost_the_others_theirs() -> None:
    site = Site(Handler())
    renew, renewed = site.table.renew, set()

    def locked(claim: Task, **how: Any) -> Any:
        if claim.id == "a":
            raise RepositoryUnavailable("a lock is waited for too long")
        renewed.add(claim.id)
        return renew(claim, **how)

    site.table.renew = locked  # type: ignore[method-assign]
    leases = site.container().group_leases()
    claims = site.table.insert_claimed_together(
        [TaskMessage(name) for name in "abc"], queue=QUEUE, owner="x", lease_s=60, max_retry_count=0
    )
    assert claims is not None
    leases.begin({claim.id: claim for claim in claims}, site.clock.monotonic())
    for _ in range(30):
        site.clock.advance(3)
        leases.look_after()
    assert renewed == {"b", "c"}


@pytest.mark.parametrize("prefetch", [1, 10])
def test_each_task_has_its_lines_in_the_log(prefetch: int, capsys: pytest.CaptureFixture[str]) -> None:
    site = Site(Handler(), prefetch=prefetch)
    site.send(*"ab")
    site.container().worker().run()
    lines = capsys.readouterr().out.splitlines()
    for what in ("message received", "task claimed ", "task succeeded"):
        assert sum(what in line and f"task_id={name}" in line for line in lines for name in "ab") == 2, what
    assert all("task_type=" in line and "worker=" in line for line in lines if "task succeeded" in line)
