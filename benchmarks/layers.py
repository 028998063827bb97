"""Where the time of a task goes at prefetch 1: from the raw loop to the worker, one part after the other."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

from benchmarks.contenders import RAW_LOOP, WORKER, Contender
from benchmarks.figures import Figure, Result
from benchmarks.rounds import Effort, interleaved
from benchmarks.site import Site
from benchmarks.throughput import Speed, speed_of


def _loop_with(layer: str) -> Contender:
    command = [sys.executable, "-m", "benchmarks.contenders.layered_loop", layer]
    return replace(RAW_LOOP, name=layer, command=lambda _: command)


#: each with its prefetch; the last is no layer but the way out: two tasks share their commits
LAYERS = {
    "raw loop": (RAW_LOOP, 1),
    "with our table and statements": (_loop_with("statements"), 1),
    "with our I/O thread for the broker": (_loop_with("source"), 1),
    "worker": (WORKER, 1),
    "worker with a prefetch of 2": (WORKER, 2),
}


def measure(site: Site, effort: Effort) -> Result:
    runs: dict[str, Callable[[], Speed]] = {
        name: lambda contender=contender, prefetch=prefetch: speed_of(site, contender, prefetch, effort.tasks)
        for name, (contender, prefetch) in LAYERS.items()
    }
    speeds = interleaved(effort.rounds, runs)
    figures = []
    for name, found in speeds.items():
        figures.append(Figure(f"a task, {name}", "ms", [1000 / speed.tasks_per_s for speed in found]))
        figures.append(Figure(f"processor time of it, {name}", "ms", [speed.cpu_ms for speed in found]))
    return Result(figures)
