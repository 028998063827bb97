"""KEDA, and the pods that it starts: a ScaledJob with the strategy `accurate`, as `keda render` writes it."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.scale.model import System
from benchmarks.scale.stations import Steps


@dataclass(frozen=True)
class Scaling:
    polling_s: float
    max_workers: int = 100
    #: until a container runs, on a node that has room and the image; assumed, a median with some spread
    pod_start_s: float = 4.0
    pod_start_spread: float = 0.4
    #: IDLE_TIMEOUT
    idle_s: float = 30.0


class Autoscaler:
    def __init__(self, system: System, scaling: Scaling) -> None:
        self._system = system
        self._env = system.env
        self._scaling = scaling
        self._pending = 0
        self.started = 0
        self.ended = 0
        #: pods that ended without having had a task
        self.wasted = 0
        #: seconds in which pods had no task
        self.idle_s = 0.0
        self._env.process(self._poll())

    def _poll(self) -> Steps:
        scaling = self._scaling
        while True:
            wanted = min(self._system.broker.ready, scaling.max_workers)
            unfinished = self.started - self.ended
            if wanted + unfinished > scaling.max_workers:
                missing = scaling.max_workers - unfinished
            else:
                missing = wanted - self._pending
            for _ in range(missing):
                self._env.process(self._pod())
            yield self._env.timeout(scaling.polling_s)

    def _pod(self) -> Steps:
        """Pending until the container runs; the program then takes its time until it asks for a message."""
        self.started += 1
        self._pending += 1
        spread = self._system.randomness.lognormvariate(0.0, self._scaling.pod_start_spread)
        yield self._env.timeout(self._scaling.pod_start_s * spread)
        self._pending -= 1
        yield self._env.timeout(self._system.times.worker.start_s)
        tasks, began = 0, self._env.now
        while (yield from self._system.run_next(self._scaling.idle_s)):
            tasks += 1
        self.idle_s += self._env.now - began - tasks * self._system.load.task_s
        self.wasted += not tasks
        self.ended += 1
