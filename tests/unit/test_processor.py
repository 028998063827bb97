"""TaskProcessor with everything in memory: what its parameters mean, and how it is watched and stopped."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from grid_async_task import ConfigurationError, Settings, TaskHandler, TaskInterrupted, TaskProcessor, TaskStatus
from grid_async_task.adapters.memory import MemoryBroker, MemoryTaskRepository
from grid_async_task.adapters.process.clock import SystemClock
from grid_async_task.ports import OutgoingMessage
from tests.waiting import eventually

#: nobody listens there
NO_BROKER = "amqp://guest:guest@127.0.0.1:1/"
NO_DATABASE = "mysql+pymysql://root:password@127.0.0.1:1/task_db"


class Waiting(TaskHandler):
    """Runs until the test lets it end."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.may_end = threading.Event()
        self.error: BaseException | None = None

    def execute(self, task_data: dict[str, Any]) -> Any:
        self.began.set()
        try:
            assert self.may_end.wait(30)
        except BaseException as error:
            self.error = error
            raise
        return {"thread": threading.current_thread().name}


class Site:
    def __init__(self) -> None:
        clock = SystemClock()
        self.broker = MemoryBroker(clock)
        self.table = MemoryTaskRepository(clock)

    def processor(self, handler: TaskHandler, **parameters: Any) -> TaskProcessor:
        parameters.setdefault("settings", Settings(queue="q"))
        return TaskProcessor(
            handler,
            source=self.broker.source("q"),
            publisher=self.broker.publisher(),
            repository=self.table,
            **parameters,
        )

    def send(self, task_id: str, rest: str = "") -> None:
        self.broker.put(OutgoingMessage("q", f'{{"task_id":"{task_id}"{rest}}}'.encode()))

    def status(self, task_id: str) -> TaskStatus | None:
        reading = self.table.read(task_id)
        return None if reading is None else reading.task.status


@pytest.fixture
def site() -> Site:
    return Site()


@contextmanager
def started(processor: TaskProcessor) -> Iterator[threading.Thread]:
    """It runs in a thread of its own, and is stopped at the end."""
    thread = threading.Thread(target=processor.start, name="processor")
    thread.start()
    try:
        yield thread
    finally:
        processor.stop()
        thread.join(20)
        assert not thread.is_alive()


# -- the constructor ------------------------------------------------------------------------------------


def test_the_constructor_needs_no_server() -> None:
    processor = TaskProcessor(Waiting(), settings=Settings(amqp_url=NO_BROKER, queue="q", mysql_url=NO_DATABASE))
    assert processor.get_status() == {
        "is_running": False,
        "current_task_id": None,
        "rabbitmq_connected": False,
        "settings": {"max_retry_count": 0, "retry_delay": 60.0, "prefetch_count": 1, "task_timeout": 0.0},
    }


@pytest.mark.parametrize("not_one", [Waiting, None, "module:Name", lambda data: data])
def test_a_handler_is_an_instance_of_a_handler_class(not_one: Any) -> None:
    with pytest.raises(ConfigurationError, match="handler"):
        TaskProcessor(not_one, settings=Settings(amqp_url="memory://", queue="q", mysql_url="memory://"))


def test_the_constructor_names_all_that_is_missing() -> None:
    with pytest.raises(ConfigurationError) as caught:
        TaskProcessor(Waiting(), settings=Settings())
    assert str(caught.value).splitlines()[:2] == [
        "Grid异步任务插件配置错误：缺少必需的环境变量配置",
        "缺少的配置项：amqp_url, rabbitmq_queue, mysql_url",
    ]


def test_only_what_is_missing_is_listed() -> None:
    with pytest.raises(ConfigurationError, match=r"缺少的配置项：mysql_url\n"):
        TaskProcessor(Waiting(), settings=Settings(amqp_url=NO_BROKER, queue="q"))


def test_a_given_adapter_makes_its_setting_needless(site: Site) -> None:
    site.processor(Waiting(), settings=Settings(queue="q"))


def test_a_bad_keyword_names_its_variable_and_what_is_allowed() -> None:
    settings = Settings(amqp_url="memory://", queue="q", mysql_url="memory://")
    with pytest.raises(ConfigurationError, match=r"GRID_ASYNC_TASK_PREFETCH_COUNT.*0"):
        TaskProcessor(Waiting(), settings=settings, prefetch_count=0)


def test_keywords_win_over_settings_and_none_leaves_them_alone(site: Site) -> None:
    settings = Settings(queue="q", max_retry_count=5, retry_delay=7, task_timeout=9)
    status = site.processor(
        Waiting(), settings=settings, max_retry_count=0, retry_delay=None, prefetch_count=3, task_timeout=0
    ).get_status()
    assert status["settings"] == {"max_retry_count": 0, "retry_delay": 7.0, "prefetch_count": 3, "task_timeout": 0.0}
    assert settings.max_retry_count == 5


def test_keywords_win_over_the_environment(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRID_ASYNC_TASK_QUEUE", "other")
    monkeypatch.setenv("GRID_ASYNC_TASK_RETRY_DELAY", "5")
    monkeypatch.setenv("GRID_ASYNC_TASK_MAX_RETRY_COUNT", "6")
    status = site.processor(Waiting(), settings=None, queue="q", retry_delay=8).get_status()
    assert (status["settings"]["retry_delay"], status["settings"]["max_retry_count"]) == (8.0, 6)


# -- watching and stopping it -----------------------------------------------------------------------------


def test_its_status_can_be_asked_from_another_thread(site: Site) -> None:
    handler = Waiting()
    processor = site.processor(handler)
    with started(processor):
        eventually(lambda: processor.is_running)
        assert processor.current_task_id is None
        site.send("t")
        assert handler.began.wait(20)
        status = processor.get_status()
        assert (status["is_running"], status["current_task_id"], status["rabbitmq_connected"]) == (True, "t", True)
        assert processor.current_task_id == "t"
        handler.may_end.set()
        eventually(lambda: site.status("t") is TaskStatus.SUCCESS and processor.current_task_id is None)
        assert processor.is_running
    assert not processor.is_running
    assert processor.get_status()["is_running"] is False


def test_stop_lets_the_running_task_end_and_takes_no_other(site: Site) -> None:
    handler = Waiting()
    processor = site.processor(handler)
    site.send("first")
    site.send("second")
    with started(processor):
        assert handler.began.wait(20)
        processor.stop()
        processor.stop()
        assert processor.is_running
        handler.may_end.set()
    assert site.status("first") is TaskStatus.SUCCESS
    assert site.status("second") is None
    assert site.broker.ready("q") == 1


def test_it_returns_when_it_has_been_idle_for_long_enough(site: Site) -> None:
    handler = Waiting()
    handler.may_end.set()
    site.send("t")
    site.processor(handler, idle_timeout=0.2).start()
    assert site.status("t") is TaskStatus.SUCCESS


def test_one_that_was_stopped_before_its_start_returns_at_once(site: Site) -> None:
    site.send("t")
    processor = site.processor(Waiting())
    processor.stop()
    processor.start()
    assert site.status("t") is None


def test_it_starts_once(site: Site) -> None:
    processor = site.processor(Waiting())
    with started(processor):
        eventually(lambda: processor.is_running)
        with pytest.raises(RuntimeError, match="once"):
            processor.start()
        assert processor.is_running
    with pytest.raises(RuntimeError, match="once"):
        processor.start()


# -- threads and signals -----------------------------------------------------------------------------------


def test_outside_the_main_thread_it_leaves_the_signals_alone(site: Site) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    handler = Waiting()
    processor = site.processor(handler)
    site.send("t")
    with started(processor):
        assert handler.began.wait(20)
        assert {number: signal.getsignal(number) for number in before} == before
        handler.may_end.set()
    reading = site.table.read("t")
    assert reading is not None
    assert reading.task.result == {"thread": "processor"}


def test_in_the_main_thread_the_signals_are_given_back_at_the_end(site: Site) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    site.processor(Waiting(), idle_timeout=0.1).start()
    assert {number: signal.getsignal(number) for number in before} == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_in_the_main_thread_a_signal_stops_it(site: Site, number: signal.Signals) -> None:
    handler = Waiting()
    handler.may_end.set()
    site.send("t")

    def when_running() -> None:
        assert handler.began.wait(20)
        signal.raise_signal(number)

    thread = threading.Thread(target=when_running)
    thread.start()
    site.processor(handler).start()
    thread.join(20)
    assert site.status("t") is TaskStatus.SUCCESS


def in_a_thread(call: Any) -> BaseException | None:
    caught: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    return caught[0] if caught else None


def test_a_time_limit_outside_the_main_thread_is_refused_at_the_start(site: Site) -> None:
    site.send("t")
    processor = site.processor(Waiting(), task_timeout=5)
    error = in_a_thread(processor.start)
    assert isinstance(error, ConfigurationError)
    assert "TASK_TIMEOUT" in str(error)
    assert not processor.is_running
    assert site.broker.ready("q") == 1


def test_it_may_be_made_in_one_thread_and_run_in_the_main_one(site: Site) -> None:
    class Sleeping(TaskHandler):
        def execute(self, task_data: dict[str, Any]) -> Any:
            time.sleep(60)

    site.send("t")
    made: list[TaskProcessor] = []
    assert in_a_thread(lambda: made.append(site.processor(Sleeping(), task_timeout=0.2, idle_timeout=0.2))) is None
    made[0].start()
    reading = site.table.read("t")
    assert reading is not None
    assert reading.task.failure is not None
    assert reading.task.failure.error_type == "TimeoutError"


MADE_IN_MAIN_RUN_ELSEWHERE = """
import threading, time
from grid_async_task import Settings, TaskHandler, TaskProcessor, TaskProducer

class Slow(TaskHandler):
    began = threading.Event()
    may_end = threading.Event()

    def execute(self, task_data):
        self.began.set()
        self.may_end.wait(20)

settings = Settings(amqp_url="memory://", queue="q", mysql_url="memory://", shutdown_grace=0.1)
TaskProducer(settings=settings).send_task({"task_id": "t"})
processor = TaskProcessor(Slow(), settings=settings)
thread = threading.Thread(target=processor.start)
thread.start()
try:
    assert Slow.began.wait(20)
    processor.stop()
    time.sleep(1)  # the grace period passes: whoever is interrupted, it must not be this thread
    print("undisturbed")
except BaseException as error:
    print("interrupted:", type(error).__name__)
Slow.may_end.set()
thread.join(20)
"""


def test_a_processor_that_runs_in_another_thread_never_interrupts_the_main_one() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MADE_IN_MAIN_RUN_ELSEWHERE], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "undisturbed", done.stderr


def test_a_handler_in_the_main_thread_is_interrupted_when_the_grace_is_over(site: Site) -> None:
    handler = Waiting()
    site.send("t")
    processor = site.processor(handler, settings=Settings(queue="q", shutdown_grace=0.1))

    def when_running() -> None:
        assert handler.began.wait(20)
        processor.stop()

    thread = threading.Thread(target=when_running)
    thread.start()
    processor.start()
    thread.join(20)
    assert isinstance(handler.error, TaskInterrupted)
    assert site.status("t") is TaskStatus.PENDING
    assert site.broker.ready("q") == 1


# -- acknowledging by hand ---------------------------------------------------------------------------------


class Rejecting(TaskHandler):
    def execute(self, task_data: dict[str, Any]) -> Any:
        if self.attempt == 1:
            self.reject(requeue=task_data["requeue"])
        else:
            self.ack()
        return {"attempt": self.attempt}


@pytest.mark.parametrize(
    ("requeue", "status", "attempt"), [("true", TaskStatus.SUCCESS, 2), ("false", TaskStatus.FAILED, 1)]
)
def test_a_handler_may_reject_its_task(site: Site, requeue: str, status: TaskStatus, attempt: int) -> None:
    site.send("t", f',"max_retry_count":3,"data":{{"requeue":{requeue}}}')
    site.processor(Rejecting(), enable_auto_ack=False, idle_timeout=0.3).start()
    reading = site.table.read("t")
    assert reading is not None
    assert (reading.task.status, reading.task.attempt, reading.task.retry_count) == (status, attempt, 0)
    assert not site.broker.waiting_for("q")
