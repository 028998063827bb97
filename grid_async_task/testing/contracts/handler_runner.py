"""What a `HandlerRunner` has to do, wherever it has the handler run."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from grid_async_task.domain.errors import Discard, Retry, Snooze, TaskInterrupted, ValidationError
from grid_async_task.handler import TaskHandler
from grid_async_task.ports import (
    AskedToSnooze,
    DataRefused,
    Ending,
    HandlerRun,
    HandlerRunner,
    Interrupted,
    Raised,
    Returned,
)

RESULT_MAX_BYTES = 3_000_000


class Unspeakable(Exception):
    """Can neither be shown nor be sent anywhere."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __str__(self) -> str:
        raise RuntimeError("no words")


class ScriptedHandler(TaskHandler):
    """Does what the task's data say. What is called, it says by its progress: that arrives wherever it runs."""

    def note(self, what: str) -> None:
        self.report_progress(1, what)

    def validate_task_data(self, task_data: dict[str, Any]) -> bool:
        self.note("validate_task_data")
        return bool(task_data.get("valid", True))

    def on_task_start(self) -> None:
        self.note("on_task_start")

    def execute(self, task_data: dict[str, Any]) -> Any:
        self.note("execute")
        return getattr(self, task_data["do"])(task_data)

    def should_retry(self, error: BaseException) -> bool:
        self.note("should_retry")
        return not isinstance(error, LookupError)

    def on_task_error(self, error: BaseException) -> None:
        self.note(f"on_task_error {type(error).__name__}")

    def on_task_complete(self, result: Any) -> None:
        self.note(f"on_task_complete {result!r} of {self.task_id}")
        raise SystemExit("changes nothing")

    # -- what `do` may name -----------------------------------------------------------------------

    def returns(self, data: dict[str, Any]) -> Any:
        return data.get("value")

    async def returns_later(self, data: dict[str, Any]) -> Any:
        return data["value"]

    def returns_no_json(self, data: dict[str, Any]) -> Any:
        return {1, 2}

    def returns_much(self, data: dict[str, Any]) -> Any:
        return "x" * data["characters"]

    def shows_the_task(self, data: dict[str, Any]) -> Any:
        return [self.task_id, self.attempt, self.checkpoint, self.task_data, self.get_task_id(), self.cancelled]

    def raises(self, data: dict[str, Any]) -> Any:
        raise ERRORS[data["error"]]

    def saves(self, data: dict[str, Any]) -> Any:
        self.save_checkpoint(data["value"])
        return self.checkpoint

    def saves_no_json(self, data: dict[str, Any]) -> Any:
        try:
            self.save_checkpoint({1, 2})
        except ValidationError as error:
            return str(error)

    def rejects(self, data: dict[str, Any]) -> Any:
        self.reject(requeue=data["requeue"])

    def acknowledges(self, data: dict[str, Any]) -> Any:
        self.ack()

    def waits_for_its_cancel(self, data: dict[str, Any]) -> Any:
        self.note("waiting")
        while not self.cancelled:
            time.sleep(0.01)
        return "stopped early"

    def blocks(self, data: dict[str, Any]) -> Any:
        self.note("blocking")
        time.sleep(60)

    def blocks_and_cleans_up(self, data: dict[str, Any]) -> Any:
        try:
            self.blocks(data)
        finally:
            self.note("cleaned up")
            self.save_checkpoint("cleaned up")


ERRORS: dict[str, BaseException] = {
    "ValueError": ValueError("v"),
    "KeyError": KeyError("k"),
    "SystemExit": SystemExit(1),
    "KeyboardInterrupt": KeyboardInterrupt(),
    "BaseException": BaseException("base"),
    "GeneratorExit": GeneratorExit(),
    "StopIteration": StopIteration(),
    "MemoryError": MemoryError(),
    "Exception": Exception("\ud800 half a pair"),
    "Unspeakable": Unspeakable(),
    "Discard": Discard("no use"),
    "ValidationError": ValidationError("bad"),
    "Retry": Retry(after=7),
    "Snooze": Snooze(9),
}
#: of those, what neither says its own delay nor is no failure
FAILURES = [name for name in ERRORS if name != "Snooze"]


class FakeAttempt:
    """An attempt as the worker has it, that remembers what it is told."""

    def __init__(self, do: str, **data: Any) -> None:
        self.task_id = "t"
        self.number = 3
        self.checkpoint: Any = {"page": 2}
        self.task_data: dict[str, Any] = {"task_id": "t", "data": {"do": do, **data}, "unknown": "kept"}
        self.should_end = False
        self.saw_cancel = False
        self.rejected: bool | None = None
        self.acknowledged = False
        self.save_raises: BaseException | None = None
        self.notes: list[str] = []
        self._noted = threading.Condition()

    @property
    def cancelled(self) -> bool:
        self.saw_cancel = self.saw_cancel or self.should_end
        return self.should_end

    def report(self, progress: Any, message: Any) -> None:
        with self._noted:
            self.notes.append(message)
            self._noted.notify_all()

    def save_checkpoint(self, value: Any) -> None:
        if self.save_raises is not None:
            raise self.save_raises
        if isinstance(value, set):
            raise ValidationError("a checkpoint has to be JSON: not JSON: TypeError")
        self.checkpoint = value

    def acknowledge(self) -> None:
        self.acknowledged = True

    def reject(self, *, requeue: bool) -> None:
        if self.save_raises is not None:
            raise self.save_raises
        self.rejected = requeue

    def wait_for(self, note: str) -> None:
        with self._noted:
            assert self._noted.wait_for(lambda: note in self.notes, 60), f"no {note!r} in {self.notes}"


class HandlerRunnerContract:
    """Derive from this, override the member below. The tests run in the main thread."""

    @classmethod
    def make_runner(cls, handler: TaskHandler, *, time_limit_s: float, result_max_bytes: int) -> HandlerRunner:
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def runner(cls) -> Iterator[HandlerRunner]:
        """One for many tests, as a worker has one for many tasks."""
        made = cls.make_runner(ScriptedHandler(), time_limit_s=0, result_max_bytes=RESULT_MAX_BYTES)
        with made.in_this_thread():
            yield made

    def run(self, runner: HandlerRunner, attempt: FakeAttempt) -> Ending:
        try:
            return runner.start().run(attempt)
        finally:
            runner.forget()

    # -- what it returns --------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("value", "result"),
        [
            (None, {}),
            ({"a": [1, "ü 💥", None]}, {"a": [1, "ü 💥", None]}),
            ("x", {"data": "x"}),
            (0, {"data": 0}),
            ([], {"data": []}),
            (False, {"data": False}),
            (1.5, {"data": 1.5}),
            (10**40, {"data": 10**40}),
        ],
    )
    def test_a_value_becomes_a_result(self, runner: HandlerRunner, value: Any, result: dict[str, Any]) -> None:
        assert self.run(runner, FakeAttempt("returns", value=value)) == Returned(result)
        assert self.run(runner, FakeAttempt("returns_later", value=value)) == Returned(result)

    def test_an_enormous_result(self, runner: HandlerRunner) -> None:
        ending = self.run(runner, FakeAttempt("returns_much", characters=2_900_000))
        assert isinstance(ending, Returned)
        assert len(ending.result["data"]) == 2_900_000

    @pytest.mark.parametrize(
        ("attempt", "says"),
        [
            (FakeAttempt("returns_much", characters=3_100_000), "RESULT_MAX_BYTES"),
            (FakeAttempt("returns_no_json"), "not JSON"),
        ],
        ids=["too large", "no JSON"],
    )
    def test_what_can_t_be_stored_is_a_failure_that_is_not_retried(
        self, runner: HandlerRunner, attempt: FakeAttempt, says: str
    ) -> None:
        ending = self.run(runner, attempt)
        assert isinstance(ending, Raised)
        assert (ending.failure.error_type, ending.failure.retryable) == ("ResultNotStorable", False)
        assert says in ending.failure.message
        assert attempt.notes[-1] == "on_task_error ResultNotStorable"

    # -- hooks ------------------------------------------------------------------------------------

    def test_the_hooks_of_a_success(self, runner: HandlerRunner) -> None:
        attempt = FakeAttempt("returns", value="done")
        assert runner.start().run(attempt) == Returned({"data": "done"})
        before = ["validate_task_data", "on_task_start", "execute"]
        assert attempt.notes == before
        runner.complete()
        runner.forget()
        assert attempt.notes == [*before, "on_task_complete 'done' of t"]
        assert self.run(runner, FakeAttempt("returns")) == Returned({}), "a hook's error changes nothing"

    def test_the_hooks_of_a_failure(self, runner: HandlerRunner) -> None:
        attempt = FakeAttempt("raises", error="ValueError")
        ending = self.run(runner, attempt)
        assert isinstance(ending, Raised)
        assert (ending.failure.error_type, ending.failure.message, ending.failure.retryable) == (
            "ValueError",
            "v",
            True,
        )
        assert "in raises" in ending.failure.traceback
        assert attempt.notes == [
            "validate_task_data",
            "on_task_start",
            "execute",
            "should_retry",
            "on_task_error ValueError",
        ]

    def test_refused_data(self, runner: HandlerRunner) -> None:
        attempt = FakeAttempt("returns", valid=False)
        ending = self.run(runner, attempt)
        assert isinstance(ending, Raised)
        assert (ending.failure.error_type, ending.failure.retryable) == ("ValidationError", False)
        assert attempt.notes == ["validate_task_data", "on_task_error ValidationError"]

    @pytest.mark.parametrize("error", FAILURES)
    def test_whatever_it_raises_is_a_failure_and_the_next_attempt_runs(self, runner: HandlerRunner, error: str) -> None:
        attempt = FakeAttempt("raises", error=error)
        ending = self.run(runner, attempt)
        assert isinstance(ending, Raised)
        assert ending.failure.error_type == error
        assert ending.failure.retryable == (error not in ("KeyError", "Discard", "ValidationError"))
        assert ending.own_delay_s == (7 if error == "Retry" else None)
        assert attempt.notes[-1] == f"on_task_error {error}"
        assert ("should_retry" in attempt.notes) == (error not in ("Retry", "Discard", "ValidationError"))
        assert self.run(runner, FakeAttempt("returns", value={"fine": True})) == Returned({"fine": True})

    def test_a_snooze_is_no_failure(self, runner: HandlerRunner) -> None:
        attempt = FakeAttempt("raises", error="Snooze")
        assert self.run(runner, attempt) == AskedToSnooze(9)
        assert attempt.notes[-1] == "execute"

    # -- the attempt, as the handler sees it ------------------------------------------------------

    def test_it_sees_the_task(self, runner: HandlerRunner) -> None:
        attempt = FakeAttempt("shows_the_task")
        assert self.run(runner, attempt) == Returned({"data": ["t", 3, {"page": 2}, attempt.task_data, "t", False]})

    def test_a_checkpoint_is_saved_before_the_handler_goes_on(self, runner: HandlerRunner) -> None:
        attempt = FakeAttempt("saves", value={"page": 5})
        assert self.run(runner, attempt) == Returned({"page": 5})
        assert attempt.checkpoint == {"page": 5}

    def test_a_checkpoint_that_is_no_json(self, runner: HandlerRunner) -> None:
        ending = self.run(runner, FakeAttempt("saves_no_json"))
        assert isinstance(ending, Returned)
        assert "a checkpoint has to be JSON" in ending.result["data"]

    @pytest.mark.parametrize("error", [DataRefused("too much"), RuntimeError("away")], ids=lambda e: type(e).__name__)
    def test_the_error_of_a_checkpoint_comes_back(self, runner: HandlerRunner, error: Exception) -> None:
        attempt = FakeAttempt("saves", value=1)
        attempt.save_raises = error
        ending = self.run(runner, attempt)
        assert isinstance(ending, Raised)
        assert (ending.failure.error_type, ending.failure.message) == (type(error).__name__, str(error))
        assert attempt.checkpoint == {"page": 2}

    def test_a_checkpoint_of_a_lost_claim_ends_the_attempt(self, runner: HandlerRunner) -> None:
        attempt = FakeAttempt("saves", value=1)
        attempt.save_raises = TaskInterrupted("another worker runs this task now")
        assert self.run(runner, attempt) == Interrupted()

    @pytest.mark.parametrize("requeue", [True, False])
    def test_a_reject_arrives(self, runner: HandlerRunner, requeue: bool) -> None:
        attempt = FakeAttempt("rejects", requeue=requeue)
        assert self.run(runner, attempt) == Returned({})
        assert attempt.rejected is requeue

    def test_a_reject_that_is_not_allowed(self, runner: HandlerRunner) -> None:
        attempt = FakeAttempt("rejects", requeue=True)
        attempt.save_raises = RuntimeError("reject() is for another worker")
        ending = self.run(runner, attempt)
        assert isinstance(ending, Raised)
        assert (ending.failure.error_type, ending.failure.message) == (
            "RuntimeError",
            "reject() is for another worker",
        )

    def test_an_acknowledgement_arrives(self, runner: HandlerRunner) -> None:
        attempt = FakeAttempt("acknowledges")
        self.run(runner, attempt)
        assert attempt.acknowledged

    def test_a_cancel_reaches_a_handler_that_looks(self, runner: HandlerRunner) -> None:
        attempt = FakeAttempt("waits_for_its_cancel")

        def cancel() -> None:
            attempt.wait_for("waiting")
            attempt.should_end = True

        with meanwhile(cancel):
            assert self.run(runner, attempt) == Returned({"data": "stopped early"})
        assert attempt.saw_cancel

    # -- interruptions ----------------------------------------------------------------------------

    def test_an_interrupt_reaches_a_call_that_blocks_and_no_hook_follows(self, runner: HandlerRunner) -> None:
        attempt = FakeAttempt("blocks_and_cleans_up")
        run = runner.start()
        with meanwhile(interrupts_when_blocked(run, attempt)):
            assert run.run(attempt) == Interrupted()
        runner.forget()
        assert attempt.notes[-1] == "cleaned up"
        assert attempt.checkpoint == "cleaned up"
        assert self.run(runner, FakeAttempt("returns")) == Returned({})

    def test_an_interrupt_before_the_run(self, runner: HandlerRunner) -> None:
        attempt = FakeAttempt("returns")
        run = runner.start()
        run.interrupt()
        assert run.run(attempt) == Interrupted()
        assert attempt.notes == []

    def test_an_interrupt_that_comes_too_late_is_not_for_the_next(self, runner: HandlerRunner) -> None:
        first = runner.start()
        assert first.run(FakeAttempt("returns")) == Returned({})
        first.interrupt()
        attempt = FakeAttempt("waits_for_its_cancel")

        def interrupt_the_first_again() -> None:
            attempt.wait_for("waiting")
            first.interrupt()
            attempt.should_end = True

        with meanwhile(interrupt_the_first_again):
            assert self.run(runner, attempt) == Returned({"data": "stopped early"})

    def test_a_time_limit(self) -> None:
        limited = self.make_runner(ScriptedHandler(), time_limit_s=0.3, result_max_bytes=RESULT_MAX_BYTES)
        with limited.in_this_thread():
            for _ in range(2):
                attempt = FakeAttempt("blocks_and_cleans_up")
                ending = self.run(limited, attempt)
                assert isinstance(ending, Raised)
                assert (ending.failure.error_type, ending.failure.retryable) == ("TimeoutError", True)
                assert "TASK_TIMEOUT" in ending.failure.message
                assert attempt.notes[-3:] == ["cleaned up", "should_retry", "on_task_error TimeoutError"]


def interrupts_when_blocked(run: HandlerRun, attempt: FakeAttempt) -> Any:
    def interrupt() -> None:
        attempt.wait_for("blocking")
        run.interrupt()

    return interrupt


@contextmanager
def meanwhile(call: Any) -> Iterator[None]:
    """The call is made in another thread."""
    thread = threading.Thread(target=call)
    thread.start()
    yield
    thread.join(60)
    assert not thread.is_alive()
