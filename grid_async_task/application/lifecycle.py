"""Whether the worker goes on, stops, or leaves."""

from __future__ import annotations

import threading


class Leaving(Exception):
    """The worker leaves before an answer came. What it holds stays unacknowledged and is delivered again."""


class Lifecycle:
    """Two moments in a worker's life, both seen by all of its threads."""

    def __init__(self) -> None:
        #: no new task is taken; the running one goes on
        self.stopping = threading.Event()
        #: the grace period is over, or nothing is left to do: nobody waits for anything any more
        self.leaving = threading.Event()
