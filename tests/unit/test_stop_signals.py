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
