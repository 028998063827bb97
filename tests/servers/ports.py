"""Ports for servers that are killed and started again on the same one."""

from __future__ import annotations

import os
import random
import socket

#: below the range from which systems take the local ports of outgoing connections: while a server is down, a
#: client that tries to reach it must not be given its port, or connect to itself
LOWEST, HIGHEST = 15_000, 32_000

_given: set[int] = set()


def free_port() -> int:
    """One that nobody else is given: it may be bound a while from now, and again after its server was killed."""
    ports = _own_ports()
    while True:
        port = random.SystemRandom().choice(ports)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port


def _own_ports() -> range:
    """A share for each of the processes that run tests side by side."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return range(LOWEST + number, HIGHEST, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
