"""Ports for servers that are killed and started again on the same one."""

from __future__ import annotations

import random
import socket

#: below the range from which systems take the local ports of outgoing connections: while a server is down, a
#: client that tries to reach it must not be given its port, or connect to itself
LOWEST, HIGHEST = 15_000, 32_000


def free_port() -> int:
    while True:
        port = random.SystemRandom().randint(LOWEST, HIGHEST)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
