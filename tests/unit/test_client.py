"""The query API (SPEC section 10), on every kind of table; MariaDB's turn is in tests/integration/test_client.py."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from grid_async_task import (
    ConfigurationError,
    Settings,
    Task,
    TaskClient,
    TaskStatus,
    ValidationError,
    adapter_choice,
)
from grid_async_task.adapters.memory import FakeClock, MemoryBroker, MemoryMessagePublisher, MemoryTaskRepository
from grid_async_task.application.client import SPARE_TICKET_S
from grid_async_task.domain.failure import Failure
from grid_async_task.domain.message import CallbackRequest, TaskMessage
from grid_async_task.domain.outcome import Failed, Outcome, RetryLater, Succeeded
from grid_async_task.domain.progress import Progress
from grid_async_task.ports import BrokerUnavailable, CallbackMark, OutgoingMessage, TaskRepository

BOOM = Failure("RuntimeError", "boom")
WANTS_CALLBACK = CallbackRequest("http://caller.example/hook")


class Broker(MemoryMessagePublisher):
    """Notes the order of what it is asked, and may go away in the middle."""

    def __init__(self, broker: MemoryBroker) -> None:
        super().__init__(broker)
        self.calls: list[str] = []
        self.away_after = 1000
        self.closed = 0

    def publish(self, message: OutgoingMessage) -> None:
        self._note(f"publish in {message.delay_s:g} s")
        super().publish(message)

    def declare(self, queue: str) -> Any:
        self._note(f"declare {queue}")
        return super().declare(queue)

    def close(self) -> None:
        self.closed += 1

    def _note(self, call: str) -> None:
        if len(self.calls) >= self.away_after:
            raise BrokerUnavailable("away")
        self.calls.append(call)


@dataclass
class Site:
    table: TaskRepository
    #: makes a task look as if all of its life had been so many days earlier
    age: Callable[[str, float], None]

    def __post_init__(self) -> None:
        self.table.prepare()
        self.memory = MemoryBroker(FakeClock())
        self.broker = Broker(self.memory)
        self.client = TaskClient(settings=Settings(), repository=self.table, publisher=self.broker)

    def pending(self, task_id: str, queue: str = "q", **fields: Any) -> Task:
        self.table.record_pending([TaskMessage(task_id, **fields)], [queue])
        return self.row(task_id)

    def running(self, task_id: str, **fields: Any) -> Task:
        task = self.table.claim(
            self.pending(task_id, **fields), owner="me", lease_s=60, max_retry_count=3, crashed=False
        )
        assert task is not None
        return task

    def settled(self, task_id: str, outcome: Outcome, **fields: Any) -> Task:
        assert self.table.settle(self.running(task_id, **fields), outcome, None)
        return self.row(task_id)

    def row(self, task_id: str) -> Task:
        task = self.client.get_task(task_id)
        assert task is not None
        return task

    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(message.body) for message in self.memory.waiting_for("q")]


class ClientOnATable:
    """What a client does on any table. A subclass gives the fixture `site`."""

    # -- questions --------------------------------------------------------------------------------------

    def test_a_task_can_be_asked_for(self, site: Site) -> None:
        site.pending("任务", task_type="x", data={"a": [1, {"b": None}]}, extra={"mine": 1}, max_retry_count=2)
        task = site.client.get_task("任务")
        assert task is not None
        assert (task.id, task.status, task.task_type, task.queue) == ("任务", TaskStatus.PENDING, "x", "q")
        assert (task.data, task.extra, task.max_retry_count) == ({"a": [1, {"b": None}]}, {"mine": 1}, 2)

    @pytest.mark.parametrize("unknown", ["nobody", "T", ""])
    def test_of_an_unknown_id_nothing_is_known(self, site: Site, unknown: str) -> None:
        site.pending("t")
        assert site.client.get_task(unknown) is None
        assert site.client.get_progress(unknown) is None
        assert site.client.cancel_task(unknown) is False
        assert site.client.retry_task(unknown) is False
        assert site.broker.calls == []

    def test_progress_has_the_format_of_the_contract(self, site: Site) -> None:
        task = site.running("t")
        site.table.renew(task, lease_s=60, progress=Progress(75, "处理中..."), cancel_known=False)
        progress = site.client.get_progress("t")
        assert progress is not None
        updated_at = progress.pop("updated_at")
        assert progress == {"task_id": "t", "progress": 75, "progress_message": "处理中...", "status": "running"}
        moment = datetime.strptime(updated_at, "%Y-%m-%dT%H:%M:%SZ")
        changed = site.row("t").updated_at
        assert changed is not None
        assert moment.replace(tzinfo=timezone.utc) == changed.replace(microsecond=0)

    def test_a_task_as_a_dict_is_plain_json(self, site: Site) -> None:
        site.settled("t", Failed(BOOM), data={"a": 1}, callback=replace(WANTS_CALLBACK, data={"c": 1}))
        shown = site.row("t").to_dict()
        assert json.loads(json.dumps(shown)) == shown
        assert list(shown) == [
            "task_id", "task_type", "status", "queue", "data", "result", "error_message", "error_type",
            "progress", "progress_message", "retry_count", "max_retry_count", "attempt", "crash_count",
            "cancel_requested", "callback_url", "callback_type", "callback_data", "callback_status",
            "callback_attempts", "created_at", "updated_at", "started_at", "completed_at", "wake_at",
        ]  # fmt: skip
        assert (shown["task_id"], shown["status"], shown["error_type"], shown["error_message"]) == (
            "t", "failed", "RuntimeError", "boom",
        )  # fmt: skip
        assert (shown["callback_url"], shown["callback_data"]) == (WANTS_CALLBACK.url, {"c": 1})
        assert shown["completed_at"].endswith("Z")

    def test_tasks_are_counted_by_each_of_the_five_states(self, site: Site) -> None:
        assert site.client.count_by_status() == dict.fromkeys(
            ["pending", "running", "success", "failed", "retrying"], 0
        )
        site.pending("a")
        site.pending("b")
        site.running("c")
        site.settled("d", RetryLater(BOOM, 60))
        assert site.client.count_by_status() == {"pending": 2, "running": 1, "success": 0, "failed": 0, "retrying": 1}
        assert all(type(name) is str for name in site.client.count_by_status())

    def test_a_list_can_be_narrowed(self, site: Site) -> None:
        site.pending("a", task_type="x")
        site.pending("b", task_type="y")
        site.pending("c", queue="other")
        site.running("d")

        def ids(**wanted: Any) -> set[str]:
            return {task.id for task in site.client.list_tasks(**wanted)}

        assert ids() == {"a", "b", "c", "d"}
        assert ids(status="running") == ids(status=TaskStatus.RUNNING) == {"d"}
        assert ids(task_type="x") == {"a"}
        assert ids(queue="other") == {"c"}
        assert ids(status="pending", queue="q") == {"a", "b"}
        assert ids(status="failed") == set()
        assert len(site.client.list_tasks(limit=2)) == 2

    def test_before_pages_through_the_list_the_newest_first(self, site: Site) -> None:
        for number in range(7):
            site.pending(str(number))
            site.age(str(number), 10 - number)
        pages, before = [], None
        while page := site.client.list_tasks(limit=3, before=before):
            pages.append([task.id for task in page])
            before = page[-1].created_at
            assert len(pages) < 7
        assert pages == [["6", "5", "4"], ["3", "2", "1"], ["0"]]

    def test_before_is_utc_where_it_names_no_zone(self, site: Site) -> None:
        created = site.pending("t").created_at
        assert created is not None
        later = created + timedelta(minutes=1)
        for moment in (later, later.replace(tzinfo=None), later.astimezone(timezone(timedelta(hours=8)))):
            assert [task.id for task in site.client.list_tasks(before=moment)] == ["t"]
        earlier = created - timedelta(minutes=1)
        for moment in (earlier, earlier.replace(tzinfo=None), earlier.astimezone(timezone(timedelta(hours=-8)))):
            assert site.client.list_tasks(before=moment) == []

    @pytest.mark.parametrize("wrong", [{"status": "cancelled"}, {"status": "FAILED"}, {"limit": 0}, {"limit": -1}])
    def test_a_list_of_what_can_not_be_is_refused(self, site: Site, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValidationError, match=str(next(iter(wrong.values())))):
            site.client.list_tasks(**wrong)

    # -- cancel -----------------------------------------------------------------------------------------

    def test_a_waiting_task_is_cancelled_at_once(self, site: Site) -> None:
        site.pending("a")
        site.settled("b", RetryLater(BOOM, 3600))
        for task_id in ("a", "b"):
            attempt = site.row(task_id).attempt
            assert site.client.cancel_task(task_id) is True
            task = site.row(task_id)
            assert task.failure is not None
            assert (task.status, task.failure.error_type, task.attempt) == ("failed", "TaskCancelled", attempt + 1)
            assert task.completed_at is not None
            assert site.client.cancel_task(task_id) is False
        assert site.broker.calls == []

    def test_a_waiting_task_that_asked_for_a_callback_gets_a_ticket_for_it(self, site: Site) -> None:
        site.pending("t", callback=WANTS_CALLBACK)
        assert site.client.cancel_task("t") is True
        assert site.row("t").callback_status == "due"
        assert [body["task_id"] for body in site.bodies()] == ["t"]

    def test_a_cancel_stands_when_the_broker_is_away(self, site: Site) -> None:
        site.broker.away_after = 0
        site.pending("t", callback=WANTS_CALLBACK)
        assert site.client.cancel_task("t") is True
        assert site.row("t").status is TaskStatus.FAILED

    def test_a_running_task_is_asked_to_stop(self, site: Site) -> None:
        site.running("t")
        assert site.client.cancel_task("t") is True
        task = site.row("t")
        assert (task.status, task.cancel_requested, task.owner) == ("running", True, "me")
        assert site.client.cancel_task("t") is True

    @pytest.mark.parametrize("outcome", [Succeeded({}), Failed(BOOM)])
    def test_a_final_task_can_not_be_cancelled(self, site: Site, outcome: Outcome) -> None:
        before = site.settled("t", outcome)
        assert site.client.cancel_task("t") is False
        assert site.row("t") == before

    # -- retry ------------------------------------------------------------------------------------------

    def test_a_failed_task_is_revived(self, site: Site) -> None:
        site.settled("t", Failed(BOOM), data={"a": 1}, extra={"mine": 1}, max_retry_count=0)
        assert site.client.retry_task("t") is True
        task = site.row("t")
        assert (task.status, task.attempt, task.retry_count, task.failure, task.wake_at) == (
            "pending", 2, 0, None, None,
        )  # fmt: skip
        message = {"task_id": "t", "data": {"a": 1}, "mine": 1, "max_retry_count": 0}
        assert site.bodies() == [message, message]

    def test_a_spare_ticket_goes_first(self, site: Site) -> None:
        site.settled("t", Failed(BOOM))
        site.client.retry_task("t")
        assert site.broker.calls == ["declare q", f"publish in {SPARE_TICKET_S:g} s", "publish in 0 s"]

    @pytest.mark.parametrize("calls", [0, 1])
    def test_without_a_spare_ticket_there_is_no_retry(self, site: Site, calls: int) -> None:
        site.settled("t", Failed(BOOM))
        site.broker.away_after = calls
        with pytest.raises(BrokerUnavailable):
            site.client.retry_task("t")
        assert site.row("t").status is TaskStatus.FAILED

    def test_with_its_spare_ticket_out_a_retry_stands(self, site: Site) -> None:
        site.settled("t", Failed(BOOM))
        site.broker.away_after = 2
        assert site.client.retry_task("t") is True
        task = site.row("t")
        assert task.status is TaskStatus.PENDING
        assert task.wake_at is not None
        assert len(site.bodies()) == 1

    def test_there_is_no_retry_while_the_callback_is_due(self, site: Site) -> None:
        site.settled("t", Failed(BOOM), callback=WANTS_CALLBACK)
        assert site.client.retry_task("t") is False
        assert site.broker.calls == []
        taken = site.table.take_callback(site.row("t"), hold_s=90)
        assert taken is not None
        assert site.client.retry_task("t") is False
        assert site.table.mark_callback(taken, CallbackMark(sent=True))
        assert site.client.retry_task("t") is True

    def test_only_what_failed_is_retried(self, site: Site) -> None:
        site.pending("a")
        site.running("b")
        site.settled("c", RetryLater(BOOM, 60))
        site.settled("d", Succeeded({}))
        assert [site.client.retry_task(each) for each in "abcd"] == [False] * 4
        assert site.broker.calls == []

    # -- prune ------------------------------------------------------------------------------------------

    def test_old_final_tasks_are_pruned(self, site: Site) -> None:
        for task_id, days in (("young", 29.9), ("old", 30.1), ("older", 300.0)):
            site.settled(task_id, Succeeded({}))
            site.age(task_id, days)
        site.settled("failed", Failed(BOOM))
        site.age("failed", 31)
        site.settled("owing", Failed(BOOM), callback=WANTS_CALLBACK)
        site.age("owing", 31)
        site.pending("waiting")
        site.age("waiting", 31)
        site.running("running")
        site.age("running", 31)
        assert site.client.prune_tasks() == 3
        assert {task.id for task in site.client.list_tasks()} == {"young", "owing", "waiting", "running"}
        assert site.client.prune_tasks(older_than_days=2) == 1
        assert site.client.prune_tasks(2) == 0

    def test_more_than_one_bunch_is_pruned(self, site: Site) -> None:
        many = [f"t{number}" for number in range(1201)]
        site.table.record_pending([TaskMessage(each) for each in many], ["q"] * len(many))
        for task in site.client.list_tasks(limit=2000):
            assert site.table.fail_unrun(task, BOOM)
        site.age("t%", 3)
        assert site.client.prune_tasks(2) == 1201
        assert site.client.count_by_status()["failed"] == 0

    @pytest.mark.parametrize("days", [1.99, 0, -1, float("nan")])
    def test_the_last_two_days_are_kept(self, site: Site, days: float) -> None:
        with pytest.raises(ValidationError, match="2"):
            site.client.prune_tasks(older_than_days=days)

    # -- the end ----------------------------------------------------------------------------------------

    def test_closing_closes_what_was_used_and_may_be_done_twice(self, site: Site) -> None:
        site.settled("t", Failed(BOOM))
        site.client.close()
        assert site.broker.closed == 0
        site.client.retry_task("t")
        site.client.close()
        site.client.close()
        assert site.broker.closed == 1


class TestInMemory(ClientOnATable):
    @pytest.fixture
    def site(self) -> Site:
        table = MemoryTaskRepository(FakeClock(datetime.now(timezone.utc)))

        def age(task_ids: str, days: float) -> None:
            earlier = timedelta(days=days)
            for row in list(table._rows.values()):
                if row.id == task_ids or ("%" in task_ids and row.id.startswith(task_ids.strip("%"))):
                    assert row.created_at is not None
                    table._rows[row.id] = replace(
                        row,
                        created_at=row.created_at - earlier,
                        completed_at=row.completed_at and row.completed_at - earlier,
                    )

        return Site(table, age)

    def test_before_pages_also_through_a_batch(self, site: Site) -> None:
        site.table.record_pending([TaskMessage(each) for each in "abcde"], ["q"] * 5)
        first = site.client.list_tasks(limit=2)
        rest = site.client.list_tasks(before=first[-1])
        assert {task.id for task in first + rest} == set("abcde")


class TestOnSqlite(ClientOnATable):
    @pytest.fixture
    def site(self, tmp_path: Path) -> Iterator[Site]:
        file = tmp_path / "tasks.db"
        table = adapter_choice.open_repository(Settings(mysql_url=f"sqlite:///{file}"))

        def age(task_ids: str, days: float) -> None:
            earlier = f"strftime('%Y-%m-%d %H:%M:%f000', {{}}, '-{days * 86400:.0f} seconds')"
            with sqlite3.connect(file) as connection:
                connection.execute(
                    f"UPDATE grid_async_task_tasks SET created_at = {earlier.format('created_at')}, "
                    f"completed_at = {earlier.format('completed_at')} WHERE id LIKE ?",
                    (task_ids,),
                )
            connection.close()

        yield Site(table, age)
        table.close()


# -- made from settings -------------------------------------------------------------------------------------


def test_a_client_needs_the_database_only(tmp_path: Path) -> None:
    client = TaskClient(settings=Settings(mysql_url=f"sqlite:///{tmp_path}/tasks.db"))
    assert client.get_task("t") is None
    client.close()


def test_without_a_database_a_client_says_what_is_missing() -> None:
    with pytest.raises(ConfigurationError, match=r"缺少的配置项：mysql_url\n"):
        TaskClient(settings=Settings(amqp_url="memory://", queue="q"))


def test_a_retry_without_a_broker_says_what_is_missing(tmp_path: Path) -> None:
    settings = Settings(mysql_url=f"sqlite:///{tmp_path}/tasks.db")
    table = adapter_choice.open_repository(settings)
    client = TaskClient(settings=settings, repository=table)
    site = Site(table, lambda task_ids, days: None)
    site.settled("t", Failed(BOOM))
    site.pending("u", callback=WANTS_CALLBACK)
    with pytest.raises(ConfigurationError, match=r"缺少的配置项：amqp_url\n"):
        client.retry_task("t")
    assert site.row("t").status is TaskStatus.FAILED
    assert client.cancel_task("u") is True
    table.close()
