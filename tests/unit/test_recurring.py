"""Recurring tasks: each once for each of its times, whoever looks and whoever dies."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from grid_async_task import ConfigurationError, Settings, TaskHandler, adapter_choice
from grid_async_task.adapters.cron import CronSchedule, read_recurring
from grid_async_task.adapters.memory import MemoryTaskRepository
from grid_async_task.application.recurring import MISSED_S, Recurring
from grid_async_task.domain.message import TaskMessage
from grid_async_task.ports import DataRefused, RecurringTask
from tests.unit.world import QUEUE, Crash, Stepped, Steps, World

UTC = timezone.utc
NIGHTLY = RecurringTask("nightly", QUEUE, CronSchedule("30 2 * * *"), TaskMessage("", "report", {"pages": 3}))


class Noting(TaskHandler):
    def __init__(self) -> None:
        self.ran: list[tuple[str | None, Any]] = []

    def execute(self, task_data: dict[str, Any]) -> Any:
        assert self.task_data is not None
        self.ran.append((self.task_id, (task_data, self.task_data["due_at"])))


def world_at(hour: int, minute: int, second: int = 0) -> World:
    world = World()
    now = world.clock.now()
    wanted = now.replace(hour=hour, minute=minute, second=second, microsecond=0) + timedelta(days=1)
    world.clock.advance((wanted - now).total_seconds())
    return world


def looking(world: World, *tasks: RecurringTask, steps: Steps | None = None, queue: str = QUEUE) -> Recurring:
    """Somebody who looks: a process of its own."""
    steps = steps or Steps()
    table: Any = Stepped(world.table, "repository", steps)
    publisher: Any = Stepped(world.broker.publisher(), "publisher", steps)
    return Recurring(tasks or (NIGHTLY,), table, publisher, world.clock, queue=queue)


def test_a_task_is_sent_once_by_many_who_look() -> None:
    world, handler = world_at(2, 29, 59), Noting()
    workers = [looking(world) for _ in range(5)]
    assert [worker.send_due() for worker in workers] == [0] * 5
    world.clock.advance(1)
    assert [worker.send_due() for worker in workers] == [1, 0, 0, 0, 0]
    world.work(handler)
    world.clock.advance(600)
    assert [worker.send_due() for worker in [*workers, looking(world)]] == [0] * 6
    due = world.clock.now().strftime("%Y-%m-%dT02:30:00Z")
    assert handler.ran == [(f"nightly@{due}", ({"pages": 3}, due))]
    world.clock.advance(86_400)
    assert [worker.send_due() for worker in workers] == [1, 0, 0, 0, 0]


@pytest.mark.parametrize("after", [False, True])
def test_who_looks_may_die_at_any_step(after: bool) -> None:
    for number in range(10):
        world, steps, handler = world_at(2, 31), Steps(number, after), Noting()
        with suppress(Crash):
            looking(world, steps=steps).send_due()
        world.work(handler)
        looking(world).send_due()
        world.until_quiet(lambda handler=handler: handler)
        assert len(handler.ran) == 1, steps.log
        if not steps.dead:
            break
    assert number == 3, steps.log


def test_two_who_look_at_the_same_moment_send_one_task() -> None:
    world, handler = world_at(2, 31), Noting()
    second = looking(world)

    class Meanwhile(Steps):
        def call(self, name: str, call: Any) -> Any:
            if name == "publisher.publish":
                second.send_due()
            return super().call(name, call)

    assert looking(world, steps=Meanwhile()).send_due() == 1
    assert len(world.broker.waiting_for(QUEUE)) == 2
    world.until_quiet(lambda: handler)
    assert len(handler.ran) == 1


def test_what_was_missed_for_long_is_left_out() -> None:
    world = world_at(2, 30)
    world.clock.advance(MISSED_S + 1)
    assert looking(world).send_due() == 0
    every_minute = RecurringTask("often", QUEUE, CronSchedule("* * * * *"), TaskMessage(""))
    assert looking(world, every_minute).send_due() == 1, "of many missed times the newest only"


def test_one_that_is_refused_keeps_none_of_the_others_from_being_sent() -> None:
    class Choosy(MemoryTaskRepository):
        def record_pending(self, messages: Sequence[TaskMessage], queues: Sequence[str]) -> None:
            if messages[0].task_type == "bad":
                raise DataRefused("no")
            super().record_pending(messages, queues)

    world = world_at(2, 30)
    world.table = Choosy(world.clock)
    bad = replace(NIGHTLY, name="bad", template=TaskMessage("", "bad"))
    someone = looking(world, bad, NIGHTLY)
    assert [someone.send_due() for _ in range(3)] == [1, 0, 0]
    assert len(world.broker.waiting_for(QUEUE)) == 2, "it is tried once, too"


def test_those_of_another_queue_are_left_to_its_workers() -> None:
    world = world_at(2, 31)
    assert looking(world, queue="other").send_due() == 0


def test_a_worker_sends_them_with_its_sweep(tmp_path: Path) -> None:
    file = tmp_path / "recurring.yaml"
    file.write_text(f"often: {{schedule: '* * * * *', queue: {QUEUE}}}", encoding="utf-8")
    world = World(settings={"recurring": str(file)})
    sweep = world.container(Noting(), Steps()).sweep()
    assert (sweep.sweep(), sweep.sweep()) == (1, 0)


@pytest.mark.parametrize(
    ("line", "zone", "now", "expected"),
    [
        ("30 2 * * *", "UTC", "2024-01-15T02:30:00", "2024-01-15T02:30:00"),
        ("30 2 * * *", "UTC", "2024-01-15T02:29:59.999999", "2024-01-14T02:30:00"),
        ("30 2 * * *", "Asia/Shanghai", "2024-01-15T12:00:00", "2024-01-14T18:30:00"),
        ("0 9 * * 1-5", "UTC", "2024-01-14T12:00:00", "2024-01-12T09:00:00"),
        # the hour of 02:30 that is left out in spring, and the one that comes twice in autumn
        ("30 12 * * *", "Europe/Berlin", "2024-03-31T11:00:00", "2024-03-31T10:30:00"),
        ("30 12 * * *", "Europe/Berlin", "2024-10-27T12:00:00", "2024-10-27T11:30:00"),
    ],
)
def test_the_times_of_a_schedule(line: str, zone: str, now: str, expected: str) -> None:
    latest = CronSchedule(line, zone).latest(datetime.fromisoformat(now).replace(tzinfo=UTC))
    assert (latest, latest.tzinfo) == (datetime.fromisoformat(expected).replace(tzinfo=UTC), UTC)


GOOD = """
nightly-report:
  schedule: "30 2 * * *"
  time_zone: Asia/Shanghai
  queue: reports
  task: {task_type: report, data: {pages: 3}, max_retry_count: 2, owner: sales}
"""


def test_a_file_of_recurring_tasks(tmp_path: Path) -> None:
    (tmp_path / "recurring.yaml").write_text(GOOD, encoding="utf-8")
    (task,) = adapter_choice.open_recurring(Settings(recurring=str(tmp_path / "recurring.yaml")))
    message = task.due_at(datetime(2024, 1, 14, 18, 30, tzinfo=UTC))
    assert (task.queue, message.task_id) == ("reports", "nightly-report@2024-01-14T18:30:00Z")
    assert (message.task_type, message.data, message.max_retry_count) == ("report", {"pages": 3}, 2)
    assert message.extra == {"owner": "sales", "due_at": "2024-01-14T18:30:00Z"}
    assert adapter_choice.open_recurring(Settings()) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "has to hold"),
        ("a: {", "can't be read"),
        ("a: {queue: q}", "'a': it needs a schedule"),
        ("a: {schedule: '* * * * *'}", "a queue"),
        ("a: {schedule: '* * * *', queue: q}", "no crontab line"),
        ("a: {schedule: '61 * * * *', queue: q}", "no crontab line"),
        ("a: {schedule: '0 0 30 2 *', queue: q}", "never due"),
        ("a: {schedule: '* * * * *', queue: q, time_zone: Mars/Crater}", "time_zone"),
        ("a: {schedule: '* * * * *', queue: q, tsk: {}}", "unknown: tsk"),
        ("a: {schedule: '* * * * *', queue: q, task: {task_id: x}}", "without a task_id"),
        ("a: {schedule: '* * * * *', queue: q, task: {data: 5}}", "data"),
        ("7: {schedule: '* * * * *', queue: q}", "a name is a text"),
        ("a: {schedule: 'R(0-59) * * * *', queue: q}", "drawn by lot"),
        (f"a: {{schedule: '* * * * *', queue: {'q' * 251}}}", "1 to 250 bytes"),
        ("a: {schedule: '* * * * *', queue: \"q\\u0007\"}", "no control characters"),
        ("a: {schedule: '* * * * *', queue: q}\na: {schedule: '5 * * * *', queue: q}", "a stands there twice"),
        ("a: {schedule: '* * * * *', queue: q, queue: r}", "queue stands there twice"),
        (f"a: {{schedule: '* * * * *', queue: q, task: {{data: {{x: {'y' * 9_000_000}}}}}}}", "bytes as JSON"),
    ],
)
def test_a_file_that_can_not_be_used_says_why(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "recurring.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=said):
        read_recurring(str(tmp_path / "recurring.yaml"))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="can't be read"):
        read_recurring(str(tmp_path / "nowhere.yaml"))
