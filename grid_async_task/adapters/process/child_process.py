"""A process of the handler's own, as the worker has it: started, heard, and killed with all that it has started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Pipe
from queue import Empty, SimpleQueue
from typing import Any

from grid_async_task.adapters.process.link import Link, Message
from grid_async_task.adapters.process.questions import Questions
from grid_async_task.adapters.process.remote_attempt import described
from grid_async_task.ports import AttemptView

#: what the process does first: it finds modules where the worker does
_PROGRAM = """
import sys, json
sys.path[:] = json.loads(sys.argv.pop())
from grid_async_task.adapters.process.child_main import main
main(int(sys.argv[1]), int(sys.argv[2]))
"""
#: kinds of messages that say something about an attempt, and not how it ends
_ON_THE_WAY = frozenset({"ask", "log", "progress"})
#: seconds that what was said last may take to be heard
LAST_WORDS_S = 2.0
#: seconds that the process gets to end by itself once it is not needed any more
TO_LEAVE_S = 5.0


class ChildProcess:
    """One process, from its start to its death. Spawned, not forked: it shares no connection with the worker.

    It leads a session and a process group of its own, so that a signal for the worker's group does
    not reach it, and all of its group can be killed. `news` brings what it says of its attempts,
    and as the last message `died` with `how`.
    """

    def __init__(self, setup: bytes, write_line: Callable[[dict[str, Any]], None]) -> None:
        self.news: SimpleQueue[Message] = SimpleQueue()
        self.is_ready = False
        self._write_line = write_line
        self._questions: Questions | None = None
        ours, theirs = Pipe()
        command = [sys.executable, "-c", _PROGRAM, str(theirs.fileno()), str(os.getpid()), json.dumps(sys.path)]
        self._process = subprocess.Popen(
            command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True
        )
        theirs.close()
        self._link = Link(ours)
        self._reader = threading.Thread(target=self._read, name="grid-async-task handler's reader", daemon=True)
        self._reader.start()
        threading.Thread(target=self._watch, name="grid-async-task handler's watcher", daemon=True).start()
        with suppress(OSError):  # it is dead already, and `news` will say so
            ours.send_bytes(setup)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def begin(self, attempt: AttemptView, *, failed: str | None = None) -> None:
        """Run the handler on this attempt; or only the hooks that follow a failure, where that is what it did."""
        self._questions = Questions(attempt, self.send, self._write_line)
        self.send("task", **described(attempt), failed=failed)

    def forget(self) -> None:
        self._questions = None
        self.send("forget")

    def send(self, kind: str, **fields: Any) -> None:
        self._link.send(kind, **fields)

    def heard_within(self, seconds: float) -> Message | None:
        """The next message of `news`, if one comes in time."""
        try:
            return self.news.get(timeout=max(0.0, seconds))
        except Empty:
            return None

    def kill(self) -> None:
        """The process and all of its group. `news` says when it is over."""
        # its id is its group's; once nobody of it is left there is nothing to kill
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def leave(self) -> None:
        """Let it end in good order, and see that it does."""
        self.send("leave")
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(TO_LEAVE_S)
        self.kill()
        self._process.wait()
        self._reader.join(LAST_WORDS_S)
        self._link.close()

    # -- threads --------------------------------------------------------------------------------

    def _read(self) -> None:
        while (message := self._link.receive()) is not None:
            questions = self._questions
            if message["kind"] not in _ON_THE_WAY:
                self.news.put(message)
            elif questions is not None:
                questions.take(message)
            elif message["kind"] == "log":
                self._write_line(message["line"])
        # it is dead, or has closed its end and can't be talked to any more
        self.kill()

    def _watch(self) -> None:
        code = self._process.wait()
        self.kill()  # what it has started and left behind; it also may hold the pipe open
        self._reader.join(LAST_WORDS_S)
        self.news.put({"kind": "died", "how": _how_it_died(code)})
        # process number 1 of a container inherits them, and would keep them as zombies
        with suppress(ChildProcessError):
            while True:
                os.waitpid(-self.pid, 0)


def _how_it_died(code: int) -> str:
    if code >= 0:
        return f"the handler's process ended by itself with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    why = " (out of memory?)" if code == -signal.SIGKILL else ""
    return f"the handler's process was killed by {name}{why}"
