"""What one call costs: the server's processor, and the time in which no processor was at work."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.scale.processes import cpu_seconds

#: connections of which the memory is measured
IDLE_CONNECTIONS = 100


@dataclass(frozen=True)
class Cost:
    """Of one call."""

    #: the server's processor
    cpu_s: float
    #: by the clock, less what the processors of server and client did: under way, or waiting for the disk; a median
    rest_s: float
    mean_rest_s: float


def cost_of(call: Callable[[], object], times: int, server: int, *, pause_s: float = 0.0) -> Cost:
    """On a busy machine some calls wait for very long: then the median of the rest is the disk's, not the mean."""
    cpu, rest = [], []
    for _ in range(times):
        if pause_s:
            time.sleep(pause_s)
        began, began_there, began_here = time.perf_counter(), cpu_seconds(server), time.thread_time()
        call()
        here, there, passed = (
            time.thread_time() - began_here,
            cpu_seconds(server) - began_there,
            time.perf_counter() - began,
        )
        cpu.append(there)
        rest.append(passed - here - there)
    return Cost(statistics.fmean(cpu), max(0.0, statistics.median(rest)), max(0.0, statistics.fmean(rest)))
