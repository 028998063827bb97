"""`ISOLATION=process`: what a handler can do to its process, and that its worker goes on."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from dependency_injector import providers

from grid_async_task import ConfigurationError, Settings, Task, TaskHandler, TaskProcessor, TaskProducer, TaskStatus
from grid_async_task.adapters.memory import MemoryBroker, MemoryTaskRepository, RecordingNotifier
from grid_async_task.adapters.process import child_runner
from grid_async_task.adapters.process.child_runner import ChildProcessRunner
from grid_async_task.adapters.process.clock import SystemClock
from grid_async_task.bootstrap import WorkerContainer
from grid_async_task.cli.handler_loading import NamedHandler
from grid_async_task.logs import forward_logs, write_forwarded
from grid_async_task.ports import Died, Interrupted, OutgoingMessage, Raised, Returned
from grid_async_task.testing.contracts.handler_runner import FakeAttempt, meanwhile
from tests.isolated_handlers import DiesInItsLastHook, SlowInItsHook, Unloadable, Unruly, WithLock
from tests.waiting import eventually

ROOT = str(Path(__file__).parent.parent.parent)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_runner, "AFTER_LIMIT_S", 0.3)
    monkeypatch.setattr(child_runner, "AFTER_INTERRUPT_S", 0.3)


@contextmanager
def running(handler: TaskHandler | None = None, *, time_limit_s: float = 0) -> Iterator[ChildProcessRunner]:
    runner = ChildProcessRunner(
        handler or Unruly(),
        time_limit_s=time_limit_s,
        result_max_bytes=1_000_000,
        forward_logs=partial(forward_logs, "INFO"),
        write_line=write_forwarded,
        stopping=threading.Event(),
    )
    with runner.in_this_thread():
        yield runner


@pytest.fixture(scope="module")
def runner() -> Iterator[ChildProcessRunner]:
    with running() as made:
        yield made


def result_of(runner: ChildProcessRunner, do: str, **data: Any) -> Any:
    ending = runner.start().run(FakeAttempt(do, **data))
    runner.forget()
    assert isinstance(ending, Returned), ending
    return ending.result


def noted(attempt: FakeAttempt, what: str) -> int:
    """The process id that the handler has reported after these words."""
    found = eventually(lambda: [note for note in attempt.notes if note.startswith(what)], what=what)
    return int(found[0].removeprefix(what))


def is_gone(pid: int) -> bool:
    """Not there any more, not even as a zombie that nobody has fetched."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    # where this test does not run under an init, orphans stay as zombies of process 1
    return state == "Z" and int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) == 1


# -- the process ----------------------------------------------------------------------------------------


def test_one_process_of_its_own_serves_many_attempts(runner: ChildProcessRunner) -> None:
    first, second = (result_of(runner, "shows_its_process") for _ in range(2))
    assert first == second
    assert first["pid"] != os.getpid()
    assert first["session"] == first["group"] == first["pid"]
    assert first["oom_score"] > 0, "short of memory, the kernel takes the handler and not its worker"


def test_it_inherits_no_descriptor(tmp_path: Path) -> None:
    with (tmp_path / "open").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        with running() as runner:
            descriptors = result_of(runner, "shows_its_descriptors")
    ours = [where for where in descriptors.values() if "socket:" in where]
    assert descriptors.pop("0") == "/dev/null"
    assert len(ours) <= 1, "the pipe to the worker, and no connection of the worker's"
    assert str(tmp_path / "open") not in descriptors.values()


@pytest.mark.parametrize(
    ("do", "data", "says"),
    [
        ("dies", {"signal": signal.SIGKILL}, "killed by SIGKILL (out of memory?)"),
        ("dies", {"signal": signal.SIGSEGV}, "killed by SIGSEGV"),
        ("dies", {"signal": signal.SIGABRT}, "killed by SIGABRT"),
        ("leaves", {"code": 3}, "ended by itself with exit code 3"),
        ("leaves", {"code": 0}, "ended by itself with exit code 0"),
    ],
)
def test_a_process_that_is_lost_is_told_and_replaced(
    runner: ChildProcessRunner, do: str, data: dict[str, Any], says: str
) -> None:
    before = result_of(runner, "shows_its_process")["pid"]
    held = what_is_held()
    attempt = FakeAttempt(do, **data)
    ending = runner.start().run(attempt)
    assert isinstance(ending, Died)
    assert ending.failure.error_type == "WorkerLost"
    assert says in ending.failure.message
    assert result_of(runner, "shows_its_process")["pid"] != before
    # what the test before has left may go meanwhile
    eventually(
        lambda: all(now <= then for now, then in zip(what_is_held(), held, strict=True)),
        what="nothing is left of the lost one",
    )


def what_is_held() -> tuple[int, int]:
    """Descriptors and threads of this process."""
    return len(os.listdir("/proc/self/fd")), threading.active_count()


def test_one_that_was_killed_while_it_had_nothing_to_do_costs_no_attempt(runner: ChildProcessRunner) -> None:
    before = result_of(runner, "shows_its_process")["pid"]
    child = runner.child()
    os.kill(before, signal.SIGKILL)
    eventually(lambda: not child.is_alive, what="the process is gone")
    assert result_of(runner, "shows_its_process")["pid"] != before


def test_a_stop_that_is_sent_to_all_processes_is_left_to_the_worker(runner: ChildProcessRunner) -> None:
    assert result_of(runner, "is_asked_to_stop") == {"copy_died_of": signal.SIGTERM}


def test_one_that_is_lost_in_the_last_hook_changes_nothing() -> None:
    with running(DiesInItsLastHook()) as runner:
        assert runner.start().run(FakeAttempt("returns", value=1)) == Returned({"data": 1})
        runner.complete()
        runner.forget()
        assert result_of(runner, "returns", value=2) == {"data": 2}


# -- stopping it ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("do", ["hashes_for_hours", "adds_for_hours"])
def test_a_time_limit_stops_a_call_in_c_and_its_hooks_are_called_elsewhere(do: str) -> None:
    with running(time_limit_s=0.2) as runner:
        attempt = FakeAttempt(do)
        ending = runner.start().run(attempt)
        runner.forget()
        assert isinstance(ending, Raised)
        assert (ending.failure.error_type, ending.failure.retryable) == ("TimeoutError", True)
        assert "TASK_TIMEOUT" in ending.failure.message
        stuck, next_one = noted(attempt, "in C in "), noted(attempt, "on_task_error TimeoutError in ")
        assert is_gone(stuck)
        assert result_of(runner, "shows_its_process")["pid"] == next_one


def test_a_hook_that_takes_its_time_is_not_cut_short_by_the_time_limit() -> None:
    with running(SlowInItsHook(), time_limit_s=0.2) as runner:
        ending = runner.start().run(FakeAttempt("no_such_thing"))
        assert isinstance(ending, Raised)
        assert ending.failure.error_type == "AttributeError"


def test_an_interrupt_stops_a_call_in_c() -> None:
    with running() as runner:
        attempt = FakeAttempt("adds_for_hours")
        run = runner.start()

        def interrupt() -> None:
            noted(attempt, "in C in ")
            run.interrupt()

        with meanwhile(interrupt):
            assert run.run(attempt) == Interrupted()
        runner.forget()
        assert result_of(runner, "returns") == {}


@pytest.mark.parametrize("do", ["leaves_a_program_behind", "leaves_a_copy_behind"])
@pytest.mark.parametrize(("then", "data"), [("adds_for_hours", {}), ("dies", {"signal": signal.SIGKILL})])
def test_what_it_has_started_goes_with_it(do: str, then: str, data: dict[str, Any]) -> None:
    with running(time_limit_s=1) as runner:
        attempt = FakeAttempt(do, then=then, **data)
        assert isinstance(runner.start().run(attempt), Died if then == "dies" else Raised)
        program = noted(attempt, "started ")
        eventually(lambda: is_gone(program), what="the program is gone")


@pytest.mark.parametrize("do", ["blocks", "adds_for_hours"])
def test_it_does_not_outlive_its_worker(tmp_path: Path, do: str) -> None:
    program = f"""
        from grid_async_task import Settings, TaskProcessor, TaskProducer
        from tests.isolated_handlers import Noting

        if __name__ == "__main__":
            settings = Settings(amqp_url="memory://", queue="q", mysql_url="memory://", isolation="process")
            TaskProducer(settings=settings).send_task({{"task_id": "t", "data": {{"do": {do!r}}}}})
            TaskProcessor(Noting(), settings=settings).start()
    """
    diary = tmp_path / "diary"
    diary.touch()
    worker = script(tmp_path, program, TEST_DIARY=str(diary))
    try:
        eventually(lambda: diary.read_text() or worker.poll() is not None, what="the handler's start")
    finally:
        worker.kill()
        _, err = worker.communicate()
    assert diary.read_text(), err
    pid = int(diary.read_text().rpartition(" ")[2])
    eventually(lambda: is_gone(pid), what="the handler's process is gone")


@pytest.mark.parametrize("busy", [True, False])
def test_the_end_of_the_pipe_is_its_end_too(busy: bool) -> None:
    """Where nothing but the pipe tells that the worker is gone."""
    with running() as runner:
        child = runner.child()

        def cut() -> None:
            if busy:
                attempt.wait_for("start")
            with socket.socket(fileno=os.dup(child._link._connection.fileno())) as pipe:
                pipe.shutdown(socket.SHUT_WR)

        attempt = FakeAttempt("blocks")
        if busy:
            with meanwhile(cut):
                assert isinstance(runner.start().run(attempt), Died)
        else:
            cut()
        eventually(lambda: is_gone(child.pid), what="the process is gone")


def test_a_memory_limit_of_its_own_makes_a_failed_attempt(runner: ChildProcessRunner) -> None:
    ending = runner.start().run(FakeAttempt("takes_too_much_memory"))
    assert isinstance(ending, Raised)
    assert (ending.failure.error_type, ending.failure.retryable) == ("MemoryError", True)


# -- getting the handler there --------------------------------------------------------------------------


class Local(TaskHandler):
    """Fine: it stands at the top level of a module."""


@pytest.mark.parametrize("make", [WithLock, lambda: type("OfNoModule", (TaskHandler,), {})()])
def test_a_handler_that_can_t_be_sent_is_refused_at_once(make: Callable[[], TaskHandler]) -> None:
    settings = Settings(amqp_url="memory://", queue="q", mysql_url="memory://", isolation="process")
    TaskProcessor(Local(), settings=settings)
    with pytest.raises(ConfigurationError, match=r"can't be sent to its own process .*__init__"):
        TaskProcessor(make(), settings=settings)


def test_a_handler_that_can_t_be_loaded_ends_the_worker_before_it_takes_a_task(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(ConfigurationError, match="LookupError: no such model"), running(Unloadable()):
        pytest.fail("it took tasks")
    assert any("__setstate__" in record.getMessage() for record in caplog.records), "the traceback is logged"


OF_A_SCRIPT = """
    import os
    from grid_async_task import Settings, TaskClient, TaskHandler, TaskProcessor, TaskProducer

    class OfTheScript(TaskHandler):
        def execute(self, task_data):
            return {"is_elsewhere": os.getppid() == task_data["worker"]}

    def main():
        url = "sqlite:///tasks.db"
        settings = Settings(amqp_url=url, queue="q", mysql_url=url, isolation="process", idle_timeout=0.3)
        TaskProducer(settings=settings).send_task({"task_id": "t", "data": {"worker": os.getpid()}})
        TaskProcessor(OfTheScript(), settings=settings).start()
        print(TaskClient(settings=settings).get_task("t").result)
"""


def test_a_handler_of_the_started_program_itself(tmp_path: Path) -> None:
    done = script(tmp_path, OF_A_SCRIPT + '\n    if __name__ == "__main__":\n        main()\n')
    out, err = done.communicate(timeout=60)
    assert out.strip() == "{'is_elsewhere': True}", err


def test_a_program_that_starts_its_worker_when_it_is_imported_says_what_to_do(tmp_path: Path) -> None:
    done = script(tmp_path, OF_A_SCRIPT + "\n    main()\n")
    _, err = done.communicate(timeout=60)
    assert done.returncode == 1
    assert 'put the start under `if __name__ == "__main__":`' in err.strip().splitlines()[-1]


def script(folder: Path, text: str, **environment: str) -> subprocess.Popen[str]:
    (folder / "program.py").write_text(textwrap.dedent(text))
    return subprocess.Popen(
        [sys.executable, "program.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": ROOT, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# -- with a worker --------------------------------------------------------------------------------------


class Site:
    def __init__(self) -> None:
        clock = SystemClock()
        self.broker = MemoryBroker(clock)
        self.table = MemoryTaskRepository(clock)
        self.notifier = RecordingNotifier()

    def processor(self, handler: TaskHandler, **settings: Any) -> TaskProcessor:
        return TaskProcessor(
            handler,
            settings=Settings(queue="q", isolation="process", **{"idle_timeout": 0.3, **settings}),
            source=self.broker.source("q"),
            publisher=self.broker.publisher(),
            repository=self.table,
            notifier=self.notifier,
        )

    def send(self, task_id: str, **data: Any) -> None:
        self.broker.put(OutgoingMessage("q", json.dumps({"task_id": task_id, "data": data}).encode()))

    def task(self, task_id: str) -> Task:
        reading = self.table.read(task_id)
        assert reading is not None
        return reading.task


def test_a_crash_is_counted_at_once_and_the_task_runs_again(tmp_path: Path) -> None:
    site = Site()
    site.send("t", do="dies_once", times=2)
    site.processor(Unruly(), log_dir=str(tmp_path), lease_seconds=600).start()
    task = site.task("t")
    assert (task.status, task.attempt, task.crash_count, task.retry_count) == (TaskStatus.SUCCESS, 3, 2, 0)
    assert not site.notifier.notices


def test_a_task_that_crashes_too_often_fails_and_the_worker_goes_on(tmp_path: Path) -> None:
    site = Site()
    site.send("deadly", do="dies_once", times=9)
    site.send("next", do="returns", value=1)
    site.processor(Unruly(), log_dir=str(tmp_path), lease_seconds=600, max_crash_count=1).start()
    task = site.task("deadly")
    assert task.failure is not None
    assert (task.status, task.attempt, task.failure.error_type) == (TaskStatus.FAILED, 2, "WorkerLost")
    assert "2 workers were lost" in task.failure.message
    assert "the handler's process was killed by SIGKILL (out of memory?)" in task.failure.message
    assert len(site.notifier.notices) == 1
    assert site.task("next").status is TaskStatus.SUCCESS


def test_time_limits_hold_outside_the_main_thread(tmp_path: Path) -> None:
    site = Site()
    site.send("t", do="blocks")
    processor = site.processor(Unruly(), log_dir=str(tmp_path), task_timeout=0.2)
    thread = threading.Thread(target=processor.start)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    failure = site.task("t").failure
    assert failure is not None
    assert failure.error_type == "TimeoutError"


def test_a_lost_claim_kills_a_handler_that_does_not_hear(tmp_path: Path) -> None:
    site = Site()
    site.send("t", do="adds_for_hours")
    processor = site.processor(Unruly(), log_dir=str(tmp_path), lease_seconds=5)

    def steal() -> None:
        eventually(lambda: processor.current_task_id == "t" and site.task("t").progress.percent)
        row = site.task("t")
        site.table._rows["t"] = replace(row, owner="thief", attempt=row.attempt + 1)

    with meanwhile(steal):
        processor.start()
    assert (site.task("t").owner, site.task("t").status) == ("thief", TaskStatus.RUNNING)


def test_an_application_with_its_own_logging_gets_the_lines_of_the_handler(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site()
    site.send("t", do="logs")
    with caplog.at_level(logging.INFO):
        site.processor(Unruly(), log_dir=str(tmp_path)).start()
    assert any(record.name == "a.library" and "through logging" in record.getMessage() for record in caplog.records)


# -- with the command line ------------------------------------------------------------------------------


def program(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    settings = {
        "AMQP_URL": "sqlite:///tasks.db",
        "MYSQL_URL": "sqlite:///tasks.db",
        "QUEUE": "q",
        "ISOLATION": "process",
        "IDLE_TIMEOUT": "0.3",
        **variables,
    }
    return subprocess.run(
        [sys.executable, "-m", "grid_async_task"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": ROOT, **{f"GRID_ASYNC_TASK_{name}": text for name, text in settings.items()}},
        capture_output=True,
        text=True,
        timeout=90,
    )


def test_what_a_handler_logs_is_in_the_log_of_its_worker(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'tasks.db'}"
    with TaskProducer(settings=Settings(amqp_url=url, queue="q", mysql_url=url)) as producer:
        producer.send_task({"task_id": "t", "data": {"do": "logs"}})
    done = program(tmp_path, HANDLER="tests.isolated_handlers:Unruly")
    [file] = (tmp_path / "logs").glob("task_*.log")
    lines = {line["event"]: line for line in map(json.loads, file.read_text().splitlines())}
    assert "below the level" not in lines
    for event, level, logger in [
        ("through logging", "warning", "a.library"),
        ("through structlog", "info", "tests.isolated_handlers"),
        ("from a thread", "info", "a.thread"),
        ("a traceback", "error", "tests.isolated_handlers"),
    ]:
        line = lines[event]
        assert (line["level"], line["logger"], line["task_id"], line["attempt"]) == (level, logger, "t", 1)
        assert done.stderr.count(f'"{event}"') == 1
    assert (lines["through logging"]["page"], lines["through structlog"]["page"]) == (7, 8)
    assert "ValueError: mysql://root:***@db/x" in lines["a traceback"]["exception"]


def test_a_handler_that_is_named_only_may_want_to_hear_of_each_commit() -> None:
    def room(handler: TaskHandler) -> int:
        settings = Settings(amqp_url="memory://", queue="q", mysql_url="memory://", prefetch_count=10)
        container = WorkerContainer(settings=providers.Object(settings), handler=providers.Object(handler))
        container.pace().took(1e-5)
        return container.groups().room

    assert room(Local()) > 1
    assert room(NamedHandler("tests.isolated_handlers:Unruly")) == 1, "commits several together, and announces none"


def test_the_command_makes_the_handler_in_its_process_only(tmp_path: Path) -> None:
    done = program(tmp_path, HANDLER="tests.isolated_handlers:WithLock")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("tests.no_such_module:Name", "can't be imported"),
        ("tests.isolated_handlers:NoSuchName", "can't be found"),
        ("tests.isolated_handlers:note", "has to be a subclass of grid_async_task.TaskHandler"),
    ],
)
def test_the_command_says_what_is_wrong_with_a_name(tmp_path: Path, name: str, says: str) -> None:
    done = program(tmp_path, HANDLER=name)
    assert done.returncode == 2
    assert says in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
