"""Handlers that no worker should have in its own process."""

from __future__ import annotations

import hashlib
import logging
import os
import resource
import signal
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from grid_async_task import TaskHandler
from grid_async_task.adapters.process import child_runner
from tests.handlers import note


class Unruly(TaskHandler):
    """Does what the task's data say. What it has to say goes into its progress, or into its result."""

    def execute(self, task_data: dict[str, Any]) -> Any:
        self.report_progress(1, "start")
        return getattr(self, task_data["do"])(task_data)

    def on_task_error(self, error: BaseException) -> None:
        self.report_progress(2, f"on_task_error {type(error).__name__} in {os.getpid()}")

    def shows_its_process(self, data: dict[str, Any]) -> Any:
        return {
            "pid": os.getpid(),
            "session": os.getsid(0),
            "group": os.getpgid(0),
            "oom_score": int(Path("/proc/self/oom_score_adj").read_text()),
        }

    def shows_its_descriptors(self, data: dict[str, Any]) -> Any:
        found = {}
        for number in os.listdir("/proc/self/fd"):
            with suppress(FileNotFoundError):  # the one by which the folder was read
                found[number] = os.readlink(f"/proc/self/fd/{number}")
        return found

    def dies(self, data: dict[str, Any]) -> Any:
        os.kill(os.getpid(), data["signal"])
        time.sleep(60)

    def is_asked_to_stop(self, data: dict[str, Any]) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        is_there, says_so = os.pipe()
        copy = os.fork()
        if copy == 0:
            os.write(says_so, b"x")
            time.sleep(600)
            os._exit(0)
        os.read(is_there, 1)
        os.kill(copy, signal.SIGTERM)
        return {"copy_died_of": os.WTERMSIG(os.waitpid(copy, 0)[1])}

    def leaves(self, data: dict[str, Any]) -> Any:
        os._exit(data["code"])

    def dies_once(self, data: dict[str, Any]) -> Any:
        if self.attempt <= data["times"]:
            os.kill(os.getpid(), signal.SIGKILL)
        return {"attempt": self.attempt}

    def hashes_for_hours(self, data: dict[str, Any]) -> Any:
        self.report_progress(1, f"in C in {os.getpid()}")
        hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 2**31 - 1)

    def adds_for_hours(self, data: dict[str, Any]) -> Any:
        """In C, and with the interpreter's lock: no other thread of the process runs either."""
        self.report_progress(1, f"in C in {os.getpid()}")
        sum(range(10**13))

    def leaves_a_program_behind(self, data: dict[str, Any]) -> Any:
        program = subprocess.Popen(["sleep", "600"])
        self.report_progress(1, f"started {program.pid}")
        return self.execute({**data, "do": data["then"]})

    def leaves_a_copy_behind(self, data: dict[str, Any]) -> Any:
        """It has the pipe to the worker, too."""
        copy = os.fork()
        if copy == 0:
            time.sleep(600)
            os._exit(0)
        self.report_progress(1, f"started {copy}")
        return self.execute({**data, "do": data["then"]})

    def logs(self, data: dict[str, Any]) -> Any:
        logging.getLogger("a.library").warning("through %s", "logging", extra={"page": 7})
        structlog.get_logger().info("through structlog", page=8)
        logging.getLogger().debug("below the level")
        thread = threading.Thread(target=lambda: logging.getLogger("a.thread").info("from a thread"))
        thread.start()
        thread.join()
        try:
            raise ValueError("mysql://root:s3cret@db/x")
        except ValueError:
            structlog.get_logger().exception("a traceback")

    def takes_too_much_memory(self, data: dict[str, Any]) -> Any:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 50 * 1024**2, resource.RLIM_INFINITY))
        try:
            return len(bytearray(500 * 1024**2))
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def blocks(self, data: dict[str, Any]) -> Any:
        time.sleep(60)

    def returns(self, data: dict[str, Any]) -> Any:
        return data.get("value")


class Noting(Unruly):
    """The same, for workers that are watched from outside."""

    def execute(self, task_data: dict[str, Any]) -> Any:
        note(f"start {self.task_id} {self.attempt} in {os.getpid()}")
        return super().execute(task_data)


class KilledSoon(Noting):
    """Its process has half a second to end, and its worker all the more to say so before it has to leave."""

    def __init__(self) -> None:
        super().__init__()
        child_runner.AFTER_INTERRUPT_S = 0.5


class WithLock(TaskHandler):
    """Can't be sent to another process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def execute(self, task_data: dict[str, Any]) -> Any:
        with self.lock:
            return {"pid": os.getpid()}


class SlowInItsHook(Unruly):
    def on_task_error(self, error: BaseException) -> None:
        time.sleep(1)


class DiesInItsLastHook(Unruly):
    def on_task_complete(self, result: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Unloadable(Unruly):
    """Can't be loaded."""

    def __setstate__(self, state: Any) -> None:
        raise LookupError("no such model")

    def __getstate__(self) -> Any:
        return {"some": "state"}
