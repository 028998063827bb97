"""A total time limit for what one socket does.

A socket's own timeout is per read: a receiver that sends a byte now and then holds its caller for ever.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from types import TracebackType


class Deadline:
    """`with Deadline(seconds)`: sockets under watch are shut down when the time is up, whatever they do then."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._ends_at = time.monotonic() + seconds
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self._lock = threading.Lock()
        self._watched: list[socket.socket] = []
        self._is_cut = False

    @property
    def has_passed(self) -> bool:
        return self._is_cut or time.monotonic() >= self._ends_at

    def left_s(self) -> float:
        """Seconds left; raises the built-in `TimeoutError` where there are none."""
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left

    def watch(self, connection: socket.socket) -> None:
        """Shut this connection down at the deadline."""
        # A duplicate: wrapping a socket for TLS takes the descriptor away from the socket that we know.
        with self._lock:
            self._watched.append(connection.dup())
            if self._is_cut:
                self._shut_down()

    def __enter__(self) -> Deadline:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timer.cancel()
        with self._lock:
            for connection in self._watched:
                connection.close()
            self._watched.clear()

    def _cut(self) -> None:
        with self._lock:
            self._is_cut = True
            self._shut_down()

    def _shut_down(self) -> None:
        for connection in self._watched:
            with contextlib.suppress(OSError):  # the other side may have been faster
                connection.shutdown(socket.SHUT_RDWR)
