"""Short tasks that share their commits: when they do, and what keeps each of them safe."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from dependency_injector import providers

from grid_async_task import TaskHandler
from grid_async_task.adapters.memory import FakeClock, MemoryBroker, MemoryTaskRepository, RecordingCallbackSender
from grid_async_task.application.groups import START_WITHIN_S
from grid_async_task.application.pace import GROUP_TIME_S, MOST_TOGETHER, Pace
from grid_async_task.bootstrap import WorkerContainer
from grid_async_task.domain.message import TaskMessage
from grid_async_task.domain.outcome import HandedBack
from grid_async_task.domain.task import Task, TaskStatus
from grid_async_task.ports import OutgoingMessage, RepositoryUnavailable
from grid_async_task.settings import Settings
from tests.unit.world import Inline, Uninterrupted

QUEUE = "work"


class Table(MemoryTaskRepository):
    """Tells which of its calls came, and can be away for some of them."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.calls: list[str] = []
        self.refuse: set[str] = set()
        self.lose_reply_of: set[str] = set()

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name not in ("insert_claimed", "insert_claimed_together", "claim_together", "settle", "succeed_together"):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(name)
            if name in self.refuse:
                raise RepositoryUnavailable("away")
            answer = found(*args, **kwargs)
            if name in self.lose_reply_of:
                self.lose_reply_of.discard(name)
                raise RepositoryUnavailable("the reply was lost")
            return answer

        return call


class Handler(TaskHandler):
    """Does what it is told for a task, and takes no time by the fake clock."""

    def __init__(self, what: dict[str, Callable[[], Any]] | None = None) -> None:
        self.what = what or {}
        self.ran: list[tuple[str | None, int]] = []

    def execute(self, task_data: dict[str, Any]) -> Any:
        self.ran.append((self.task_id, self.attempt))
        return self.what.get(self.task_id or "", lambda: {"by": self.task_id})()


class Site:
    def __init__(self, handler: TaskHandler, *, prefetch: int = 10, **settings: Any) -> None:
        self.clock = FakeClock()
        self.broker = MemoryBroker(self.clock)
        self.table = Table(self.clock)
        self.receiver = RecordingCallbackSender()
        self.handler = handler
        self.prefetch = prefetch
        self.settings = {"lease_seconds": 60, "idle_timeout": 0.5, "prefetch_count": prefetch, **settings}

    def container(self, *, knows_pace: bool = True) -> WorkerContainer:
        settings = Settings(amqp_url="memory://", mysql_url="memory://", queue=QUEUE, **self.settings)
        container = WorkerContainer(settings=providers.Object(settings), handler=providers.Object(self.handler))
        ports: dict[str, Any] = {
            "repository": self.table,
            "source": self.broker.source(QUEUE, self.prefetch),
            "publisher": self.broker.publisher(),
            "callback_senders": {"http": self.receiver},
            "clock": self.clock,
            "background": Inline(),
            "interrupts": Uninterrupted(),
        }
        for name, port in ports.items():
            getattr(container, name).override(providers.Object(port))
        if knows_pace:
            container.pace().took(GROUP_TIME_S / 8)
        return container

    def send(self, *ids: str, **fields: Any) -> None:
        for task_id in ids:
            self.broker.put(OutgoingMessage(QUEUE, json.dumps({"task_id": task_id, **fields}).encode()))

    def row(self, task_id: str) -> Task:
        reading = self.table.read(task_id)
        assert reading is not None
        return reading.task

    def statuses(self) -> dict[str, str]:
        return {row.id: row.status.value for row in self.table._rows.values()}


def test_short_tasks_share_their_two_commits() -> None:
    site = Site(Handler())
    site.send(*"abcdefgh")
    site.container().worker().run()
    assert site.table.calls == ["insert_claimed_together", "succeed_together"]
    assert site.statuses() == dict.fromkeys("abcdefgh", "success")
    assert site.row("c").result == {"by": "c"}
    assert site.broker.waiting_for(QUEUE) == []


def test_a_worker_that_knows_nothing_of_its_tasks_begins_with_single_ones() -> None:
    site = Site(Handler())
    site.send(*"abc")
    site.container(knows_pace=False).worker().run()
    # the first one tells how long they take
    assert site.table.calls == ["insert_claimed", "settle", "insert_claimed_together", "succeed_together"]


@pytest.mark.parametrize("prefetch", [1, 2])
def test_without_prefetched_messages_there_are_no_groups(prefetch: int) -> None:
    site = Site(Handler(), prefetch=prefetch)
    site.send("a")
    site.container().worker().run()
    assert site.table.calls == ["insert_claimed", "settle"]


def test_a_handler_that_hears_of_each_commit_gets_none() -> None:
    class Listener(Handler):
        def on_task_complete(self, result: Any) -> None:
            heard.append((self.task_id, site.statuses()))

    heard: list[Any] = []
    site = Site(Listener())
    site.send("a", "b")
    site.container().worker().run()
    assert heard == [("a", {"a": "success"}), ("b", {"a": "success", "b": "success"})]


def test_what_is_no_plain_success_goes_its_own_way() -> None:
    def fail() -> None:
        raise ValueError("no")

    handler = Handler({"b": fail, "c": lambda: handler.report_progress(50, "half")})
    site = Site(handler, max_retry_count=1, retry_delay=60)
    site.send("a", "b", "c")
    site.send("d", callback_url="http://receiver/")
    site.broker.put(OutgoingMessage(QUEUE, b"not json"))
    site.send("a", "e")
    site.container().worker().run()
    assert site.statuses() == {**dict.fromkeys("acde", "success"), "b": "retrying"}
    assert handler.ran == [(name, 1) for name in "abcde"]
    assert site.row("c").progress.message == "half"
    assert [callback.task_id for callback in site.receiver.callbacks] == ["d"]
    assert [message.body for message in site.broker.queues[f"{QUEUE}.dead"]] == [b"not json"]
    assert [message.queue for message in site.broker.waiting_for(QUEUE)] == [QUEUE]  # the retry


def test_tasks_that_their_producer_has_recorded_are_claimed_together_too() -> None:
    site = Site(Handler())
    site.table.record_pending([TaskMessage(name, data={"row": True}) for name in "bcd"], [QUEUE] * 3)
    site.send(*"abcde")
    site.container().worker().run()
    assert site.table.calls == [
        "insert_claimed_together",
        "insert_claimed_together",
        "claim_together",
        "succeed_together",
    ]
    assert site.statuses() == dict.fromkeys("abcde", "success")
    assert sorted(site.handler.ran) == [(name, 1) for name in "abcde"]  # type: ignore[attr-defined]


def test_where_a_row_is_further_on_each_goes_its_own_way() -> None:
    site = Site(Handler())
    site.send(*"abc")
    site.container().worker().run()
    site.send(*"cde")
    site.table.calls.clear()
    site.container().worker().run()
    # `c` is found to be finished by itself
    assert site.table.calls[:3] == ["insert_claimed_together", "insert_claimed_together", "succeed_together"]
    assert site.handler.ran == [(name, 1) for name in "abcde"]  # type: ignore[attr-defined]
    assert site.broker.waiting_for(QUEUE) == []


def test_one_that_somebody_else_claims_meanwhile_is_left_to_him() -> None:
    site = Site(Handler())
    site.table.record_pending([TaskMessage(name) for name in "ab"], [QUEUE] * 2)
    site.send(*"ab")
    read = site.table.read_together

    def read_and_lose(task_ids: Any) -> Any:
        readings = read(task_ids)
        site.table.read_together = read  # type: ignore[method-assign]
        assert site.table.claim(site.row("a"), owner="other", lease_s=60, max_retry_count=0, crashed=False)
        return readings

    site.table.read_together = read_and_lose  # type: ignore[method-assign]
    site.container().worker().run()
    assert site.handler.ran == [("b", 1)]  # type: ignore[attr-defined]
    assert site.row("a").owner == "other"
    assert site.statuses() == {"a": "running", "b": "success"}


@pytest.mark.parametrize("what", ["insert_claimed_together", "succeed_together"])
@pytest.mark.parametrize("lost", [False, True], ids=["refused", "reply lost"])
def test_a_database_that_does_not_say_yes_is_asked_for_each(what: str, lost: bool) -> None:
    site = Site(Handler())
    (site.table.lose_reply_of if lost else site.table.refuse).add(what)
    site.send(*"abc")
    site.container().worker().run()
    assert site.statuses() == dict.fromkeys("abc", "success")
    assert site.handler.ran == [(name, 1) for name in "abc"]  # type: ignore[attr-defined]
    assert site.broker.waiting_for(QUEUE) == []


def test_the_loss_of_a_worker_counts_against_none_of_its_group_and_each_runs_alone_then() -> None:
    class Crash(BaseException):
        pass

    def crash() -> None:
        raise Crash

    site = Site(Handler({"b": crash}), max_crash_count=0)
    site.send(*"abc")
    container = site.container()
    container.attempts()._outcome = lambda attempt, ending: crash()  # the process is gone while `a` runs
    with pytest.raises(Crash):
        container.worker().run()
    container.source().close()
    assert site.statuses() == dict.fromkeys("abc", "running")
    site.clock.advance(61)
    site.handler.what.clear()  # type: ignore[attr-defined]
    site.container().worker().run()
    assert site.statuses() == dict.fromkeys("abc", "success")
    for name in "abc":
        assert (site.row(name).crash_count, site.row(name).attempt, site.row(name).grouped) == (0, 2, False)


class Watched:
    """A group whose member `b` takes long, looked after in the middle of it."""

    def __init__(self) -> None:
        self.seen: dict[str, str] = {}
        handler = Handler({"b": self.long})
        self.site = Site(handler)
        self.site.send(*"abcd")
        self.container = self.site.container()

    def run(self) -> None:
        self.container.worker().run()

    def look(self) -> None:
        groups = self.container.groups()
        assert groups.group is not None
        groups.look_after(groups.group)

    def long(self) -> None:
        self.look()
        self.at_once = self.site.statuses()
        self.site.clock.advance(GROUP_TIME_S)
        self.look()
        self.soon = self.site.statuses()
        self.unacknowledged = {hand.message.body for hand in self.site.broker.in_hand.values()}
        self.site.clock.advance(START_WITHIN_S)
        self.look()
        self.later = self.site.statuses()
        self.ready = len(self.site.broker.queues[QUEUE])


def test_no_success_waits_longer_for_company_when_the_next_task_is_long() -> None:
    watched = Watched()
    watched.run()
    assert watched.at_once["a"] == "running"
    assert watched.soon["a"] == "success"
    assert b'{"task_id": "a"}' not in watched.unacknowledged


def test_members_that_can_not_start_in_time_go_back_to_others() -> None:
    watched = Watched()
    watched.run()
    assert watched.later == {"a": "success", "b": "running", "c": "pending", "d": "pending"}
    assert watched.ready == 2
    # and nothing of it is lost: this very worker took them again, each as its next attempt
    assert watched.site.statuses() == dict.fromkeys("abcd", "success")
    assert watched.site.handler.ran == [("a", 1), ("b", 1), ("c", 2), ("d", 2)]  # type: ignore[attr-defined]
    assert watched.site.row("c").crash_count == 0


def test_members_that_are_not_started_go_back_when_the_worker_stops() -> None:
    site = Site(Handler())
    container = site.container()
    site.handler.what["b"] = container.worker().stop  # type: ignore[attr-defined]
    site.send(*"abcd")
    container.worker().run()
    assert site.statuses() == {"a": "success", "b": "success", "c": "pending", "d": "pending"}
    assert len(site.broker.waiting_for(QUEUE)) == 2


def test_a_claim_that_was_lost_is_not_overwritten_by_its_group() -> None:
    def lose() -> None:
        assert site.table.settle(site.row("b"), HandedBack(), None)
        claim = site.table.claim(site.row("b"), owner="other", lease_s=60, max_retry_count=0, crashed=False)
        assert claim is not None

    site = Site(Handler({"b": lose}))
    site.send(*"abc")
    site.container().worker().run()
    assert site.statuses() == {"a": "success", "b": "running", "c": "success"}
    assert (site.row("b").owner, site.row("b").attempt) == ("other", 2)
    assert [message.body for message in site.broker.waiting_for(QUEUE)] == [b'{"task_id": "b"}']


def test_a_claim_that_took_long_is_made_sure_of_for_each() -> None:
    site = Site(Handler())
    insert = site.table.insert_claimed_together

    def slow(*args: Any, **kwargs: Any) -> Any:
        site.clock.advance(11)  # more than a sixth of the lease
        return insert(*args, **kwargs)

    site.table.insert_claimed_together = slow  # type: ignore[method-assign]
    renewed: list[str] = []
    renew = site.table.renew

    def noted(claim: Task, **kwargs: Any) -> Any:
        renewed.append(claim.id)
        return renew(claim, **kwargs)

    site.table.renew = noted  # type: ignore[method-assign]
    site.send(*"ab")
    site.container().worker().run()
    assert renewed == ["a", "b"]
    assert site.handler.ran == [("a", 1), ("b", 1)]  # type: ignore[attr-defined]


def test_the_watching_thread_commits_by_itself() -> None:
    """With the real clock and a real thread: nobody drives it by hand."""
    committed = threading.Event()
    site = Site(Handler({"b": lambda: committed.wait(30)}))
    container = site.container()
    groups, claims = container.groups(), container.group_claims()
    together = claims.succeed

    def noted(tasks: Any, results: Any) -> bool:
        written = together(tasks, results)
        committed.set()
        return written

    claims.succeed = noted
    site.clock.wait = lambda event, timeout_s: event.wait(min(timeout_s, 0.01))  # type: ignore[method-assign]
    ticking = threading.Event()

    def tick() -> None:
        while not ticking.wait(0.001):
            site.clock.advance(0.001)

    threads = [threading.Thread(target=groups.watch), threading.Thread(target=tick)]
    for thread in threads:
        thread.start()
    site.send(*"ab")
    try:
        container.worker().run()
    finally:
        container.lifecycle().leaving.set()
        ticking.set()
        for thread in threads:
            thread.join()
    assert site.row("b").result == {"data": True}, "the success of `a` waited for the end of `b`"
    assert site.row("a").status is TaskStatus.SUCCESS


def test_the_pace_rises_at_once_and_falls_slowly() -> None:
    pace = Pace()
    assert pace.group_size == 1
    pace.took(0.00001)
    assert pace.group_size == MOST_TOGETHER
    pace.took(60)
    assert pace.group_size == 1
    sizes = []
    for _ in range(200):
        pace.took(0.0001)
        sizes.append(pace.group_size)
    assert sizes[:50] == [1] * 50
    assert sizes[-1] > 40
    assert sizes == sorted(sizes)
