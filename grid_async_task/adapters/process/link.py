"""What a worker and its handler's process say to each other.

worker to process                                  process to worker
-------------------------------------------------  ------------------------------------------------------------
(first, pickled) `Setup`                           ready | refused(error)
task(..., failed: text where it has failed: hooks) left: the code that a time limit holds for
interrupt | cancel                                 ended(ending) | completed
answer(ask, value | raised)                        ask(ask, what, arguments) | progress(percent, message) | log(line)
complete | forget | leave
"""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

Message = dict[str, Any]


class Link:
    """One end of the pipe between the two. Messages are JSON objects, sent from any thread and read by one."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sending = threading.Lock()

    def send(self, kind: str, **fields: Any) -> None:
        """Whether anybody is there to hear it, the reader finds out."""
        body = json.dumps({"kind": kind, **fields}).encode()
        with self._sending, suppress(OSError):
            self._connection.send_bytes(body)

    def receive(self) -> Message | None:
        """The next message; None once the other end is gone."""
        try:
            message: Message = json.loads(self._connection.recv_bytes())
        except (EOFError, OSError):
            return None
        return message

    def close(self) -> None:
        self._connection.close()
