"""What work queues up at: processors, and a disk that many commits share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from typing import Any

import simpy

from benchmarks.scale.service_times import DatabaseTimes, QueueTimes

Steps = Generator[Any, Any, None]


class Station:
    """Some servers with one queue before them, first come first served: the cores of a machine."""

    def __init__(self, env: simpy.Environment, servers: int) -> None:
        self._env = env
        self._servers = simpy.Resource(env, servers)
        self._busy_s = 0.0
        self._counted_from = 0.0

    def serve(self, seconds: float) -> Steps:
        with self._servers.request() as turn:
            yield turn
            yield self._env.timeout(seconds)
        self._busy_s += seconds

    def count_from_now(self) -> None:
        self._busy_s, self._counted_from = 0.0, self._env.now

    @property
    def utilisation(self) -> float:
        """The share of the servers' time that was work, 0 to 1."""
        passed = self._env.now - self._counted_from
        return self._busy_s / (self._servers.capacity * passed) if passed else 0.0


class Database:
    """One server. A statement takes a core; a commit then waits for the next flush of the log, with all who wait."""

    def __init__(
        self, env: simpy.Environment, cores: Station, times: DatabaseTimes, *, round_trip_s: float, flush_s: float
    ) -> None:
        self._env = env
        self._cores = cores
        self._times = times
        self._round_trip_s = round_trip_s
        self._flush_s = flush_s
        self._next_flush: simpy.Event | None = None
        self._is_flushing = False
        self._swept_at = float("-inf")
        #: statements by what they are for
        self.statements: Counter[str] = Counter()
        self.flushes = 0

    def write(self, what: str, cpu_s: float) -> Steps:
        """A statement that changes something, and is committed."""
        yield from self._execute(what, cpu_s)
        yield from self._on_disk()

    def win_sweep(self, every_s: float) -> Generator[Any, Any, bool]:
        """Whether the sweep is this worker's turn. One whose turn it is not has asked twice, and changed nothing."""
        if self._env.now - self._swept_at >= every_s:
            self._swept_at = self._env.now
            yield from self.write("election", self._times.renew_cpu_s)
            return True
        yield from self._execute("election", self._times.election_cpu_s / 2)
        yield from self._execute("election", self._times.election_cpu_s / 2)
        return False

    def search_overdue(self) -> Steps:
        yield from self._execute("sweep", self._times.sweep_cpu_s)

    def _execute(self, what: str, cpu_s: float) -> Steps:
        self.statements[what] += 1
        yield self._env.timeout(self._round_trip_s)
        yield from self._cores.serve(cpu_s)

    def _on_disk(self) -> Steps:
        if self._next_flush is None:
            self._next_flush = self._env.event()
        done = self._next_flush
        if not self._is_flushing:
            self._env.process(self._flush())
            self._is_flushing = True
        yield done

    def _flush(self) -> Steps:
        while (waiting := self._next_flush) is not None:
            self._next_flush = None  # who comes from now on waits for the one after
            yield self._env.timeout(self._flush_s)
            self.flushes += 1
            waiting.succeed()
        self._is_flushing = False


class Broker:
    """One node. A queue is one process of the broker, so it never uses more than one core."""

    def __init__(
        self, env: simpy.Environment, cores: Station, times: QueueTimes, *, round_trip_s: float, endless: bool
    ) -> None:
        """`endless`: there is always one more message, whose publishing costs what it costs."""
        self._env = env
        self._cores = cores
        self._times = times
        self._round_trip_s = round_trip_s
        self._ready = simpy.Store(env)
        self._endless = endless
        self._made = 0

    @property
    def ready(self) -> int:
        """Messages that wait: what KEDA sees."""
        return len(self._ready.items)

    @property
    def has_more(self) -> bool:
        return self._endless or self.ready > 0

    def publish(self, task: int) -> None:
        self._ready.put(task)

    def next(self, patience_s: float | None = None) -> Generator[Any, Any, int | None]:
        """The next message; None where none came for so many seconds."""
        if self._endless:
            yield from self._cores.serve(self._times.both_s)
            self._made += 1
            return self._made
        wanted = self._ready.get()
        if patience_s is None:
            yield wanted
        else:
            yield wanted | self._env.timeout(patience_s)
            if not wanted.triggered:
                wanted.cancel()
                return None
        yield self._env.timeout(self._round_trip_s / 2)
        yield from self._cores.serve(self._times.consume_cpu_s)
        task: int | None = wanted.value
        return task
