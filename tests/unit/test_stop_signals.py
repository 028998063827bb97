"""SIGTERM and SIGINT are never lost, also while the watch over them begins."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from typing import Any

import pytest

from grid_async_task.adapters.process.stop_signals import stop_signals


@pytest.mark.parametrize("struck_step", [1, 2, 3])
def test_a_signal_that_comes_while_the_watch_begins_is_not_lost(
    monkeypatch: pytest.MonkeyPatch, struck_step: int
) -> None:
    """After each step of it, either whoever had the signal before gets it, or `stop` is called."""
    seen_before: list[int] = []
    stopped = threading.Event()
    steps: list[Any] = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: seen_before.append(number))

    def then_struck(step: Any) -> Any:
        def take(*arguments: Any, **options: Any) -> Any:
            answer = step(*arguments, **options)
            steps.append(step)
            if len(steps) == struck_step:
                signal.raise_signal(signal.SIGTERM)
            return answer

        return take

    try:
        monkeypatch.setattr(signal, "signal", then_struck(signal.signal))
        monkeypatch.setattr(signal, "set_wakeup_fd", then_struck(signal.set_wakeup_fd))
        with stop_signals(stopped.set):
            monkeypatch.undo()
            assert seen_before or stopped.wait(10)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert len(steps) == 3


WITH_A_COPY = """
import os, signal, time
from grid_async_task.adapters.process.stop_signals import stop_signals

stops = []
is_there, says_so = os.pipe()
with stop_signals(lambda: stops.append("stop")):
    copy = os.fork()
    if copy == 0:
        os.write(says_so, b"x")
        time.sleep(60)
        os._exit(0)
    os.read(is_there, 1)
    os.kill(copy, signal.SIGTERM)
    died_of = os.WTERMSIG(os.waitpid(copy, 0)[1])
print(died_of, stops)
"""


def test_a_signal_for_a_copy_of_the_process_ends_the_copy_and_stops_nobody() -> None:
    done = subprocess.run([sys.executable, "-c", WITH_A_COPY], capture_output=True, text=True, timeout=90)
    assert done.stdout.strip() == f"{int(signal.SIGTERM)} []", done.stderr


AT_EACH_INSTRUCTION = """
import contextlib, signal, sys
from grid_async_task.adapters.process import stop_signals as watch
from grid_async_task.cli import worker as command

FILES = {watch.__file__, command.__file__, contextlib.__file__}

def end_with_a_signal_at(struck):
    instructions = 0

    def trace(frame, event, _argument):
        nonlocal instructions
        if frame.f_code.co_filename not in FILES:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            instructions += 1
            if instructions == struck:
                signal.raise_signal(signal.SIGTERM)
        return trace

    with contextlib.suppress(SystemExit):
        with command._stoppable_to_the_last():
            with watch.stop_signals(lambda: None):
                sys.settrace(trace)
                frame = sys._getframe()
                while frame := frame.f_back:
                    frame.f_trace = trace
    sys.settrace(None)
    return instructions

struck = deadly = 0
while end_with_a_signal_at(struck) >= struck:
    deadly += any(signal.getsignal(number) != signal.SIG_IGN for number in watch.STOP_SIGNALS)
    watch.as_python_has_them()
    struck += 1
print(struck, deadly)
"""


def test_a_signal_at_any_instruction_of_the_end_leaves_none_that_is_deadly() -> None:
    """What has a handler in Python then kills the interpreter while it ends, and its exit code is lost."""
    done = subprocess.run([sys.executable, "-c", AT_EACH_INSTRUCTION], capture_output=True, text=True, timeout=90)
    instructions, deadly = map(int, done.stdout.split() or pytest.fail(done.stderr))
    assert instructions > 100
    assert deadly == 0
