"""What a worker does with what a handler does. On memory adapters, by a fake clock."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from grid_async_task import (
    Discard,
    PermanentCallbackError,
    Retry,
    Snooze,
    TaskHandler,
    TaskInterrupted,
    ValidationError,
)
from grid_async_task.application.idle import IdleTime
from grid_async_task.application.running_attempt import RunningAttempt
from grid_async_task.domain.message import TaskMessage
from grid_async_task.domain.progress import Progress
from grid_async_task.domain.task import CallbackStatus, Task, TaskStatus
from grid_async_task.ports import CallbackDeferred, CallbackFailed, DataRefused, OutgoingMessage
from tests.unit.world import QUEUE, Steps, World


class Scripted(TaskHandler):
    """Records the hooks, and does in `execute` what the test says."""

    def __init__(self, do: Callable[[Scripted], Any] = lambda handler: None) -> None:
        self.do = do
        self.hooks: list[str] = []

    def validate_task_data(self, task_data: dict[str, Any]) -> bool:
        self.hooks.append("validate_task_data")
        return bool(task_data.get("valid", True))

    def on_task_start(self) -> None:
        self.hooks.append("on_task_start")

    def execute(self, task_data: dict[str, Any]) -> Any:
        self.hooks.append("execute")
        return self.do(self)

    def on_task_complete(self, result: Any) -> None:
        self.hooks.append(f"on_task_complete({result!r})")

    def on_task_error(self, error: BaseException) -> None:
        self.hooks.append(f"on_task_error({type(error).__name__})")


def raises(error: BaseException) -> Callable[[Any], Any]:
    def do(handler: Any) -> Any:
        raise error

    return do


def run(handler: TaskHandler, world: World | None = None, **fields: Any) -> tuple[Task, World]:
    """One worker on one message, until it is idle."""
    world = world or World()
    world.send(json.dumps({"task_id": "t", **fields}).encode())
    world.work(handler)
    return world.row("t"), world


def test_hooks_run_in_order_and_see_the_task() -> None:
    seen: list[Any] = []

    def do(handler: TaskHandler) -> Any:
        seen.extend([handler.task_id, handler.get_task_id(), handler.task_data, handler.attempt, handler.checkpoint])
        return {"done": True}

    handler = Scripted(do)
    message = {"task_id": "t", "data": {"a": 1}, "max_retry_count": 2, "unknown": "kept"}
    defaults = {"task_type": "default", "callback_type": "http", "callback_url": None, "callback_data": {}}
    whole_message = {**defaults, **message}
    row, _ = run(handler, **message)
    assert handler.hooks == ["validate_task_data", "on_task_start", "execute", "on_task_complete({'done': True})"]
    assert seen == ["t", "t", whole_message, 1, None]
    assert (row.status, row.result, row.progress) == (TaskStatus.SUCCESS, {"done": True}, Progress(100))
    assert handler.task_id is None
    assert handler.task_data is None


def test_on_task_complete_comes_after_the_commit_and_its_error_changes_nothing() -> None:
    world = World()

    class Handler(TaskHandler):
        def execute(self, task_data: dict[str, Any]) -> Any:
            return None

        def on_task_complete(self, result: Any) -> None:
            assert self.task_id == "t"
            seen.append(world.row("t").status)
            raise SystemExit(3)

    seen: list[TaskStatus] = []
    row, _ = run(Handler(), world)
    assert seen == [TaskStatus.SUCCESS]
    assert row.status is TaskStatus.SUCCESS


def test_a_handler_needs_no_init_and_may_be_async() -> None:
    class Handler(TaskHandler):
        def __init__(self) -> None:
            pass

        async def execute(self, task_data: dict[str, Any]) -> Any:
            return [1, 2]

    assert run(Handler())[0].result == {"data": [1, 2]}


@pytest.mark.parametrize(
    ("value", "result"),
    [
        (None, {}),
        ({"a": 1}, {"a": 1}),
        ("x", {"data": "x"}),
        (0, {"data": 0}),
        ([], {"data": []}),
        (False, {"data": False}),
    ],
)
def test_results(value: Any, result: dict[str, Any]) -> None:
    assert run(Scripted(lambda handler: value))[0].result == result


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def cyclic() -> Any:
    value: dict[str, Any] = {}
    value["self"] = value
    return value


ANYTHING_RAISED = [
    ValueError("v"),
    SystemExit(1),
    KeyboardInterrupt(),
    GeneratorExit(),
    BaseException("base"),
    Unspeakable(),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    Exception("\ud800 half a pair"),
    Exception("long " * 100_000),
    StopIteration(),
    RecursionError("deep"),
    MemoryError(),
]


@pytest.mark.parametrize("error", ANYTHING_RAISED, ids=lambda error: type(error).__name__)
def test_whatever_is_raised_is_a_failed_attempt_and_the_worker_goes_on(error: BaseException) -> None:
    world = World()
    handler = Scripted(lambda handler: raises(error)(handler) if handler.task_id == "t" else "fine")
    world.send(b'{"task_id":"t","callback_url":"http://example.test/"}')
    world.send(b'{"task_id":"next"}')
    world.work(handler)
    row = world.row("t")
    assert row.status is TaskStatus.FAILED
    assert row.failure is not None
    assert row.failure.error_type == type(error).__name__
    assert len(row.failure.message.encode()) <= 65_535
    assert world.row("next").status is TaskStatus.SUCCESS
    json.loads(world.receiver.callbacks[0].body)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (float("nan"), "NaN"),
        ({"x": float("inf")}, "NaN and infinite"),
        (cyclic(), "contains itself"),
        (object(), "not JSON"),
        ({"x": {1, 2}}, "not JSON"),
        ({("a",): 1}, "not JSON"),
        ("\ud800", "surrogate"),
        ("x" * 2_000, "RESULT_MAX_BYTES"),
    ],
)
def test_a_result_that_can_t_be_stored_fails_the_task_at_once(value: Any, says: str) -> None:
    world = World(settings={"result_max_bytes": 1_000})
    row, _ = run(Scripted(lambda handler: value), world, max_retry_count=5)
    assert row.failure is not None
    assert (row.status, row.failure.error_type, row.retry_count) == (TaskStatus.FAILED, "ResultNotStorable", 0)
    assert says in row.failure.message


def caused_by(cause: Exception) -> Exception:
    error = RuntimeError("could not work")
    error.__cause__ = cause
    return error


def test_refused_data_is_a_validation_error_and_is_not_retried() -> None:
    handler = Scripted()
    row, _ = run(handler, data={"valid": False}, max_retry_count=3)
    assert row.failure is not None
    assert (row.status, row.failure.error_type) == (TaskStatus.FAILED, "ValidationError")
    assert handler.hooks == ["validate_task_data", "on_task_error(ValidationError)"]


@pytest.mark.parametrize(
    ("error", "error_type"),
    [
        (ValidationError("bad"), "ValidationError"),
        (Discard("no use"), "Discard"),
        (TimeoutError("slow"), "TimeoutError"),
        (ConnectionResetError("gone"), "ConnectionError"),
        (KeyError("k"), "KeyError"),
        (caused_by(ConnectionRefusedError("db")), "ConnectionError"),
        (type("AMQPConnectionError", (Exception,), {})("no"), "ConnectionError"),
    ],
)
def test_error_types_without_retries(error: Exception, error_type: str) -> None:
    failure = run(Scripted(raises(error)))[0].failure
    assert failure is not None
    assert (failure.error_type, failure.cause) == (error_type, None)


def test_retries_come_when_they_are_due_and_are_used_up() -> None:
    world = World(settings={"retry_delay": 60})
    handler = Scripted(raises(OSError("no")))
    row, _ = run(handler, world, max_retry_count=2)
    assert (row.status, row.retry_count) == (TaskStatus.RETRYING, 1)
    assert world.broker.ready(QUEUE) == 0
    assert world.broker.seconds_to_next() == pytest.approx(60, abs=1)
    began = world.clock.monotonic()
    world.until_quiet(lambda: handler)
    row = world.row("t")
    assert row.failure is not None
    assert (row.status, row.failure.error_type, row.failure.cause) == (TaskStatus.FAILED, "RetryExhausted", "OSError")
    assert handler.hooks.count("execute") == 3
    assert handler.hooks.count("on_task_error(OSError)") == 3
    assert world.clock.monotonic() - began >= 119


def test_should_retry_decides_and_its_own_error_fails_the_attempt() -> None:
    class Refusing(Scripted):
        def should_retry(self, error: BaseException) -> bool:
            return False

    class Broken(Scripted):
        def should_retry(self, error: BaseException) -> bool:
            raise LookupError("broken")

    row, _ = run(Refusing(raises(OSError("no"))), max_retry_count=3)
    assert row.failure is not None
    assert (row.status, row.failure.error_type) == (TaskStatus.FAILED, "OSError")
    row, _ = run(Broken(raises(OSError("no"))), max_retry_count=1)
    assert row.failure is not None
    assert (row.status, row.failure.error_type) == (TaskStatus.RETRYING, "LookupError")


def test_retry_after_has_its_own_delay_and_snooze_costs_nothing() -> None:
    row, world = run(Scripted(raises(Retry(after=7))), max_retry_count=1)
    assert (row.status, row.retry_count) == (TaskStatus.RETRYING, 1)
    assert world.broker.seconds_to_next() == pytest.approx(6.5)
    handler = Scripted(raises(Snooze(0.01)))
    row, world = run(handler)
    assert (row.status, row.retry_count) == (TaskStatus.RETRYING, 0)
    assert handler.hooks[-1] == "execute"


def test_retries_of_a_message_that_names_none_come_from_the_settings() -> None:
    row, _ = run(Scripted(raises(OSError("no"))), World(settings={"max_retry_count": 2}))
    assert (row.status, row.max_retry_count) == (TaskStatus.RETRYING, 2)
    row, _ = run(Scripted(raises(OSError("no"))), World(settings={"max_retry_count": 2}), max_retry_count=0)
    assert row.status is TaskStatus.FAILED


@pytest.mark.parametrize("password", ["s3cr3t", "pa$$/w@rd", "a@b@c", "x:y/z#@"])
def test_passwords_in_urls_never_leave_in_an_error(password: str) -> None:
    error = RuntimeError(f"can't reach mysql://root:{password}@db/x")
    row, world = run(Scripted(raises(error)), callback_url="http://example.test/")
    assert row.failure is not None
    assert row.failure.message == "can't reach mysql://root:***@db/x"
    assert password.encode() not in world.receiver.callbacks[0].body
    assert password not in world.notifier.notices[0].traceback


def test_a_traceback_begins_in_the_handlers_own_code() -> None:
    _, world = run(Scripted(raises(KeyError("k"))))
    first_frame = world.notifier.notices[0].traceback.splitlines()[1]
    assert "test_worker.py" in first_frame


class OwnRetry(Retry):
    def __init__(self) -> None:
        """Does not call its base class."""


class OwnSnooze(Snooze):
    def __init__(self) -> None:
        """Does not call its base class."""


@pytest.mark.parametrize(
    "error", [Snooze(float("inf")), Retry(after=1e12), Snooze(float("nan")), OwnRetry(), OwnSnooze()], ids=repr
)
def test_any_delay_a_handler_asks_for_is_kept_within_reason(error: Exception) -> None:
    row, _ = run(Scripted(raises(error)), max_retry_count=1)
    assert row.status is TaskStatus.RETRYING


# -- progress, checkpoint, cancel ---------------------------------------------------------------------


class WithBeats:
    """A world whose handler can let the heartbeat beat."""

    def __init__(self, do: Callable[[TaskHandler, Callable[[], None], World], Any]) -> None:
        self.world = World()
        self.container = self.world.container(
            Scripted(lambda handler: do(handler, self.container.heartbeat().beat, self.world)), Steps()
        )

    def run(self, **fields: Any) -> Task:
        self.world.send(json.dumps({"task_id": "t", **fields}).encode())
        self.container.worker().run()
        return self.world.row("t")


def test_progress_is_clamped_cut_and_written_by_the_heartbeat() -> None:
    def do(handler: TaskHandler, beat: Callable[[], None], world: World) -> None:
        for value, message, kept in [
            (-5, "start", Progress(0, "start")),
            (250, "much", Progress(100, "much")),
            (41.9, "x" * 600, Progress(41, "x" * 500)),
            ("junk", object, Progress(0, str(object))),
            (float("nan"), None, Progress(0, "")),
        ]:
            handler.report_progress(value, message)  # type: ignore[arg-type]
            beat()
            assert world.row("t").progress == kept
        handler.report_progress(75, "last")

    row = WithBeats(do).run()
    assert row.progress == Progress(100, "last")


def test_the_last_progress_of_a_failed_attempt_is_kept() -> None:
    def do(handler: TaskHandler, beat: Callable[[], None], world: World) -> None:
        handler.report_progress(30, "then it broke")
        raise OSError

    assert WithBeats(do).run().progress == Progress(30, "then it broke")


def test_a_heartbeat_renews_the_lease() -> None:
    def do(handler: TaskHandler, beat: Callable[[], None], world: World) -> None:
        before = world.row("t").wake_at
        world.clock.advance(100)
        beat()
        after = world.row("t").wake_at
        assert before is not None
        assert after is not None
        assert (after - before).total_seconds() == 100

    assert WithBeats(do).run().status is TaskStatus.SUCCESS


@pytest.mark.parametrize("looks", [True, False])
def test_a_cancel_reaches_the_handler_with_the_heartbeat(looks: bool) -> None:
    def do(handler: TaskHandler, beat: Callable[[], None], world: World) -> Any:
        world.table.request_cancel(world.row("t"))
        beat()
        return "finished" if not looks else handler.cancelled and None

    row = WithBeats(do).run(callback_url="http://example.test/")
    if looks:
        assert row.failure is not None
        assert (row.status, row.failure.error_type) == (TaskStatus.FAILED, "TaskCancelled")
    else:
        assert (row.status, row.result) == (TaskStatus.SUCCESS, {"data": "finished"})


def test_an_attempt_that_fails_after_a_cancel_is_cancelled_and_not_retried() -> None:
    def do(handler: TaskHandler, beat: Callable[[], None], world: World) -> Any:
        world.table.request_cancel(world.row("t"))
        beat()
        raise OSError

    row = WithBeats(do).run(max_retry_count=5)
    assert row.failure is not None
    assert (row.status, row.failure.error_type) == (TaskStatus.FAILED, "TaskCancelled")


def test_a_cancel_that_the_heartbeat_missed_takes_effect_before_the_next_attempt() -> None:
    world = World()

    def do(handler: TaskHandler) -> Any:
        world.table.request_cancel(world.row("t"))
        raise OSError

    handler = Scripted(do)
    row, _ = run(handler, world, max_retry_count=5)
    assert row.status is TaskStatus.RETRYING
    world.until_quiet(lambda: handler)
    row = world.row("t")
    assert row.failure is not None
    assert (row.status, row.failure.error_type) == (TaskStatus.FAILED, "TaskCancelled")
    assert handler.hooks.count("execute") == 1


def test_a_lost_claim_stops_the_handler_and_writes_nothing() -> None:
    def steal(world: World) -> None:
        world.clock.advance(200)
        seen = world.row("t")
        world.table.claim(seen, owner="thief", lease_s=60, max_retry_count=0, crashed=True)

    def do(handler: TaskHandler, beat: Callable[[], None], world: World) -> Any:
        if handler.attempt > 1:
            return "second"
        steal(world)
        beat()
        assert handler.cancelled
        return "must not be kept"

    world = WithBeats(do)
    world.world.send(b'{"task_id":"t","callback_url":"http://example.test/"}')
    world.container.worker().run()
    row = world.world.row("t")
    assert (row.owner, row.status, row.attempt) == ("thief", TaskStatus.RUNNING, 2)
    assert not world.world.receiver.callbacks
    assert not world.world.without_ticket()


def test_a_checkpoint_is_there_after_a_crash() -> None:
    world = World()

    def do(handler: TaskHandler) -> Any:
        if handler.attempt == 1:
            handler.save_checkpoint({"page": 3})
            world.steps.die()
        return handler.checkpoint

    world.send(b'{"task_id":"t"}')
    world.until_quiet(lambda: Scripted(do))
    assert world.row("t").result == {"page": 3}


def test_a_checkpoint_that_is_not_json_is_a_validation_error() -> None:
    failure = run(Scripted(lambda handler: handler.save_checkpoint({1, 2})))[0].failure
    assert failure is not None
    assert failure.error_type == "ValidationError"


def test_handing_back_by_interruption_costs_nothing() -> None:
    world = World()
    handler = Scripted(lambda handler: raises(TaskInterrupted())(handler) if handler.attempt == 1 else "done")
    row, _ = run(handler, world)
    assert (row.status, row.attempt, row.retry_count, row.crash_count) == (TaskStatus.SUCCESS, 2, 0, 0)


@pytest.mark.parametrize(("requeue", "status"), [(True, TaskStatus.SUCCESS), (False, TaskStatus.FAILED)])
def test_reject_with_manual_ack(requeue: bool, status: TaskStatus) -> None:
    world = World()

    def do(handler: TaskHandler) -> Any:
        if handler.attempt == 1:
            handler.reject(requeue=requeue)
        else:
            handler.ack()

    container = world.container(Scripted(do), Steps())
    container.enable_auto_ack.override(False)
    world.send(b'{"task_id":"t","max_retry_count":3}')
    container.worker().run()
    row = world.row("t")
    assert (row.status, row.retry_count) == (status, 0)


def test_ack_with_automatic_ack_says_nothing_new() -> None:
    assert run(Scripted(lambda handler: handler.ack()))[0].status is TaskStatus.SUCCESS


class OwnNames(TaskHandler):
    """As one of version 1 may be: it has attributes of its own under our names."""

    def __init__(self) -> None:
        self.cancelled = False
        self.attempt = 7
        self.checkpoint = "mine"
        self._running = True

    def execute(self, task_data: dict[str, Any]) -> Any:
        self.report_progress(5)
        return [self.cancelled, self.attempt, self.checkpoint, self._running, self.task_id]


def test_a_handler_may_have_attributes_of_our_names() -> None:
    assert run(OwnNames())[0].result == {"data": [False, 7, "mine", True, "t"]}


def test_reject_with_automatic_ack_is_the_handlers_mistake() -> None:
    failure = run(Scripted(lambda handler: handler.reject()))[0].failure
    assert failure is not None
    assert "enable_auto_ack=False" in failure.message


# -- callbacks ----------------------------------------------------------------------------------------


def test_the_callback_says_what_the_spec_says() -> None:
    row, world = run(
        Scripted(lambda handler: {"pages": 3}), callback_url="http://example.test/hook", callback_data={"order": 7}
    )
    callback = world.receiver.callbacks[0]
    assert json.loads(callback.body) == {
        "task_id": "t",
        "status": "success",
        "result": {"pages": 3},
        "timestamp": "2024-01-15T10:30:00Z",
        "callback_data": {"order": 7},
    }
    assert list(json.loads(callback.body)) == ["task_id", "status", "result", "timestamp", "callback_data"]
    assert (row.callback_status, row.wake_at) == (CallbackStatus.SENT, None)


def test_a_callback_is_tried_four_times_then_given_up_and_told() -> None:
    world = World()
    world.receiver.fail_next(*[CallbackFailed("500")] * 10)
    run(Scripted(), world, callback_url="http://example.test/")
    waits = []
    while world.broker.delayed:
        waits.append(world.broker.seconds_to_next())
        world.clock.advance(waits[-1] or 0)
        world.work(Scripted())
    row = world.row("t")
    assert (row.callback_status, row.callback_attempts) == (CallbackStatus.EXHAUSTED, 4)
    assert [round(wait) for wait in waits if wait is not None] == pytest.approx([1, 5, 30], abs=7)
    assert [notice.title for notice in world.notifier.notices] == ["Callback given up"]


def test_retry_after_is_honoured_and_time_without_a_way_is_no_try() -> None:
    world = World()
    world.receiver.fail_next(CallbackFailed("429", retry_after_s=1000), *[CallbackDeferred("broker away")] * 5)
    run(Scripted(), world, callback_url="http://example.test/")
    assert world.broker.seconds_to_next() == pytest.approx(300, abs=1)
    world.until_quiet(Scripted)
    row = world.row("t")
    assert (row.callback_status, row.callback_attempts) == (CallbackStatus.SENT, 2)


@pytest.mark.parametrize(
    "error", [asyncio.CancelledError(), Unspeakable(), SystemExit(), CallbackFailed("no", retry_after_s=float("nan"))]
)
def test_whatever_a_sender_raises_is_a_failed_try(error: Exception) -> None:
    world = World()
    world.receiver.fail_next(error)
    run(Scripted(), world, callback_url="http://example.test/")
    world.until_quiet(Scripted)
    assert world.row("t").callback_status is CallbackStatus.SENT


def test_a_row_that_the_database_could_not_take_anew_is_still_a_good_row() -> None:
    world = World()
    handler = Scripted(lambda handler: raises(OSError())(handler) if handler.attempt == 1 else "done")
    run(handler, world, max_retry_count=1)

    def too_large(*args: Any, **kwargs: Any) -> None:
        raise DataRefused("larger than max_allowed_packet")

    world.table.insert_claimed = too_large  # type: ignore[method-assign]
    world.until_quiet(lambda: handler)
    assert world.row("t").result == {"data": "done"}
    assert not world.broker.waiting_for(QUEUE + ".dead")


def test_a_row_that_vanishes_and_can_t_be_made_anew_ends_no_worker() -> None:
    world = World()
    insert = world.table.insert_claimed

    def first_time_only(message: TaskMessage, **arguments: Any) -> Task | None:
        world.table.insert_claimed = refuse  # type: ignore[method-assign]
        return insert(message, **arguments)

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise DataRefused("larger than max_allowed_packet")

    world.table.insert_claimed = first_time_only  # type: ignore[method-assign]
    world.send(b'{"task_id":"t"}')
    world.work(Scripted(lambda handler: world.table._rows.clear()))
    assert len(world.broker.waiting_for(QUEUE + ".dead")) == 1
    assert not world.broker.waiting_for(QUEUE)


def test_a_task_that_the_database_can_t_hold_is_a_dead_letter() -> None:
    world = World()

    def too_large(*args: Any, **kwargs: Any) -> None:
        raise DataRefused("larger than max_allowed_packet")

    world.table.insert_claimed = too_large  # type: ignore[method-assign]
    row, _ = run(Scripted(), world)
    assert row.failure is not None
    assert (row.status, row.failure.error_type) == (TaskStatus.FAILED, "ValidationError")
    (dead,) = world.broker.waiting_for(QUEUE + ".dead")
    assert dead.headers["x-grid-reason"] == "refused_by_database"


def test_a_receiver_can_t_shorten_the_wait() -> None:
    world = World()
    world.receiver.fail_next(CallbackFailed("503", retry_after_s=-5))
    run(Scripted(), world, callback_url="http://example.test/")
    wait_s = world.broker.seconds_to_next()
    assert wait_s is not None
    assert wait_s >= 0.2  # 0.8 s to 1 s, less the worker's idle time


def test_a_permanent_error_gives_the_callback_up_at_once() -> None:
    world = World()
    world.receiver.fail_next(PermanentCallbackError("refused address"))
    row, _ = run(Scripted(), world, callback_url="http://example.test/")
    assert row.callback_status is CallbackStatus.EXHAUSTED


# -- other tickets ------------------------------------------------------------------------------------


def test_a_message_of_a_finished_task_is_acknowledged_and_not_executed() -> None:
    handler = Scripted()
    _, world = run(handler)
    run(handler, world)
    assert handler.hooks.count("execute") == 1
    assert not world.broker.waiting_for(QUEUE)


def test_the_ticket_of_a_task_that_runs_elsewhere_is_parked() -> None:
    world = World()
    world.table.insert_claimed(TaskMessage("t"), queue=QUEUE, owner="other", lease_s=60, max_retry_count=0)
    handler = Scripted()
    row, _ = run(handler, world)
    assert (row.owner, handler.hooks) == ("other", [])
    assert world.broker.seconds_to_next() == pytest.approx(60, abs=1)


def test_a_ticket_of_another_queues_task_is_sent_there() -> None:
    world = World()
    world.table.record_pending([TaskMessage("t")], ["elsewhere"])
    handler = Scripted()
    run(handler, world)
    assert handler.hooks == []
    assert len(world.broker.waiting_for("elsewhere")) == 1


def test_a_much_delivered_message_is_replaced_by_a_copy() -> None:
    world = World()
    container = world.container(Scripted(), Steps())
    world.send(b'{"task_id":"t"}')
    delivery = container.source().next(0)
    worker = container.worker()
    worker.handle(type(delivery)(**{**delivery.__dict__, "delivery_count": 10}))
    assert world.table.read("t") is None
    assert world.broker.ready(QUEUE) == 1
    assert not world.broker.in_hand


def test_headers_of_the_broker_stay_behind_when_a_message_is_parked() -> None:
    world = World()
    world.broker.put(
        OutgoingMessage(
            QUEUE,
            b'{"task_id":"t","max_retry_count":1}',
            headers={"x-death": [{"count": 1}], "traceparent": "00-abc"},
            properties={"message_id": "m", "expiration": "10", "reply_to": "q"},
        )
    )
    world.work(Scripted(raises(OSError())))
    (parked,) = world.broker.waiting_for(QUEUE)
    assert (parked.headers, parked.properties) == ({"traceparent": "00-abc"}, {"message_id": "m"})


def test_time_with_a_delivery_in_hand_is_no_idle_time() -> None:
    world = World()
    lost = world.table.insert_claimed(TaskMessage("slow"), queue=QUEUE, owner="silent", lease_s=60, max_retry_count=0)
    assert lost is not None
    world.clock.advance(61)
    read, looks = world.table.read, iter(range(100))

    def alive_after_all(task_id: str) -> Any:
        if next(looks) == 5:
            world.table.renew(lost, lease_s=60, progress=None, cancel_known=False)
        return read(task_id)

    world.table.read = alive_after_all  # type: ignore[method-assign]
    world.send(b'{"task_id":"slow"}')
    world.send(b'{"task_id":"next"}')
    world.work(Scripted(), idle_timeout=3)  # it watches the lease for longer
    assert world.row("next").status is TaskStatus.SUCCESS


def test_a_row_without_a_queue_is_whoevers_gets_its_message() -> None:
    world = World()
    world.table.record_pending([TaskMessage("t")], [""])
    row, _ = run(Scripted(), world)
    assert (row.status, row.queue) == (TaskStatus.SUCCESS, QUEUE)


def test_idle_time_counts_from_the_last_task() -> None:
    world = World()
    world.send(b'{"task_id":"t"}')
    handler = Scripted(lambda handler: world.clock.advance(1000))
    world.work(handler, idle_timeout=30)
    assert handler.hooks.count("execute") == 1
    assert 1030 <= world.clock.monotonic() < 1032


def test_idle_time_begins_when_the_worker_is_connected() -> None:
    clock, connected = World().clock, threading.Event()
    idle = IdleTime(clock, timeout_s=5, is_connected=connected.is_set, is_busy=lambda: False)
    assert not idle.is_over()
    clock.advance(5)
    connected.set()
    assert not idle.is_over()
    clock.advance(5)
    assert idle.is_over()


def test_a_worker_that_is_stopped_takes_no_task() -> None:
    world = World()
    container = world.container(Scripted(), Steps(), idle_timeout=0)
    world.send(b'{"task_id":"t"}')
    worker = container.worker()
    worker.stop()
    worker.stop()
    worker.run()
    assert world.table.read("t") is None
    assert world.broker.ready(QUEUE) == 1


def test_report_progress_is_one_assignment() -> None:
    calls: list[None] = []
    attempt = RunningAttempt(
        Task("t", QUEUE, TaskStatus.RUNNING),
        run=None,  # type: ignore[arg-type]
        save=lambda attempt, text: True,
        on_first_report=lambda: calls.append(None),
        on_lost=lambda attempt: None,
        may_reject=False,
    )
    for percent in range(1000):
        attempt.report(percent, "")
    assert len(calls) == 1
    assert attempt.newest_progress == Progress(100)
    assert isinstance(attempt.ended, threading.Event)


def test_messages_fetched_behind_a_watched_lease_go_back() -> None:
    world = World()
    lost = world.table.insert_claimed(TaskMessage("slow"), queue=QUEUE, owner="silent", lease_s=60, max_retry_count=0)
    assert lost is not None
    world.clock.advance(61)
    world.send(b'{"task_id":"slow"}')
    world.work(Scripted())
    paused = world.steps.log.index("source.pause")
    looks = [number for number, name in enumerate(world.steps.log) if name == "repository.read"]
    assert looks[0] < paused < looks[1], "the first look finds the lease expired, the others watch it"
