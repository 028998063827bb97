"""SIGTERM and SIGINT, seen at once, also while the main thread is inside a C call."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_is_watched = False


def as_python_has_them() -> None:
    """The signals of a program that has done nothing about them."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _in_a_copy() -> None:
    # it has the descriptor too: a signal for a pool of processes, that a handler ends, would stop the worker
    if _is_watched:
        as_python_has_them()


os.register_at_fork(after_in_child=_in_a_copy)


@contextmanager
def stop_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop`, in a thread of its own, when the process is asked to end.

    Python runs a signal's handler only between two of its own instructions; the wake-up
    descriptor is written by the signal itself. The handlers must be there all the same: process
    number 1 of a container ignores a signal without one.
    """
    global _is_watched
    reader, writer = socket.socketpair()
    writer.setblocking(False)

    def watch() -> None:
        while data := reader.recv(64):
            if any(number in data for number in STOP_SIGNALS):
                stop()

    # the descriptor first: between the two a signal would have a handler that does nothing, and be lost
    before_descriptor = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    before = {number: signal.signal(number, lambda *_: None) for number in STOP_SIGNALS}
    watcher = threading.Thread(target=watch, name="grid-async-task signals", daemon=True)
    watcher.start()
    _is_watched = True
    try:
        yield
    finally:
        _is_watched = False
        signal.set_wakeup_fd(before_descriptor)
        for number, handler in before.items():
            signal.signal(number, handler)
        writer.close()  # ends the watcher
        watcher.join()
        reader.close()
