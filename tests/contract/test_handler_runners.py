"""A handler can't tell whether it runs in the worker's process or in one of its own."""

from __future__ import annotations

import threading
from functools import partial

from grid_async_task import TaskHandler
from grid_async_task.adapters.process.child_runner import ChildProcessRunner
from grid_async_task.adapters.process.in_process import InProcessRunner
from grid_async_task.adapters.process.interrupts import SignalInterrupts
from grid_async_task.logs import forward_logs, write_forwarded
from grid_async_task.ports import HandlerRunner
from grid_async_task.testing.contracts.handler_runner import HandlerRunnerContract


class TestInProcessRunner(HandlerRunnerContract):
    @classmethod
    def make_runner(cls, handler: TaskHandler, *, time_limit_s: float, result_max_bytes: int) -> HandlerRunner:
        return InProcessRunner(
            handler, SignalInterrupts(), time_limit_s=time_limit_s, result_max_bytes=result_max_bytes
        )


class TestChildProcessRunner(HandlerRunnerContract):
    @classmethod
    def make_runner(cls, handler: TaskHandler, *, time_limit_s: float, result_max_bytes: int) -> HandlerRunner:
        return ChildProcessRunner(
            handler,
            time_limit_s=time_limit_s,
            result_max_bytes=result_max_bytes,
            forward_logs=partial(forward_logs, "INFO"),
            write_line=write_forwarded,
            stopping=threading.Event(),
        )
