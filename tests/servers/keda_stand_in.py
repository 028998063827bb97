"""A stand-in for KEDA: it looks at a real queue as KEDA does, and starts and stops real worker processes.

What it does as KEDA does it, without the rest of a cluster:

- the rabbitmq scaler with `protocol: amqp`, `mode: QueueLength`, `value: "1"`: a passive declare on a connection of its
  own at every poll. It sees ready messages only, and fails on a queue that is not there;
- a ScaledJob by strategy `accurate`: a Job for each message, never above the maximum, and none is ever removed. A
  process starts at once, so no Job counts as pending: a message that no worker has taken by the next poll starts
  one more, which finds nothing to do and exits;
- a ScaledObject: as many replicas as there are messages, down to one when there are none, and to zero after the
  cooldown. Whom it removes is not asked whether it is at work: SIGTERM, and SIGKILL at the end of its grace period.
  Over amqp it does so as soon as all messages are taken, which is the mistake `object-protocol` of `keda lint`: the
  worst that can happen to a worker.

Source: pkg/scalers/rabbitmq_scaler.go and pkg/scaling/executor/ of https://github.com/kedacore/keda
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol

import pika

from tests.worker_process import WorkerProcess

#: seconds between two looks; KEDA's own default is 30
POLLING_INTERVAL_S = 1.0


class Scaling(Protocol):
    def change(self, ready: int, running: int) -> int:
        """How many workers to start, or to stop if negative; `running` are those that nobody has told to stop."""


@dataclass
class ScaledJob:
    """`scalingStrategy.strategy: accurate`"""

    max_workers: int

    def change(self, ready: int, running: int) -> int:
        wanted = min(ready, self.max_workers)
        room = self.max_workers - running
        return max(0, min(wanted, room))


@dataclass
class ScaledObject:
    """From one worker up it is the autoscaler who decides, from zero to one and back KEDA."""

    max_workers: int
    cooldown_s: float
    #: the autoscaler's stabilisation window, before the end of which it removes nobody: a test says when it is over
    window_is_over: threading.Event = field(default_factory=threading.Event)
    _active_at: float = field(default_factory=time.monotonic)

    def change(self, ready: int, running: int) -> int:
        if ready:
            self._active_at = time.monotonic()
        is_active = time.monotonic() - self._active_at < self.cooldown_s
        wanted = min(ready, self.max_workers) or min(running, int(is_active))
        return wanted - running if self.window_is_over.is_set() else max(0, wanted - running)


@dataclass(frozen=True)
class Poll:
    """What was seen and done at one look."""

    at_s: float
    ready: int
    #: processes that ran at that moment, also those on their way out
    workers: int
    #: started, or stopped if negative
    change: int


@dataclass
class Pod:
    worker: WorkerProcess
    #: `time.monotonic()` at which its grace period is over; None while nobody has told it to stop
    killed_at: float | None = None

    @property
    def is_alive(self) -> bool:
        return self.worker.process.poll() is None


class KedaStandIn:
    """Polls while its context is entered. `timeline` tells what happened, in words."""

    def __init__(
        self,
        amqp_url: str,
        queue: str,
        start_worker: Callable[[], WorkerProcess],
        scaling: Scaling,
        *,
        grace_period_s: float = 40.0,
    ) -> None:
        self._amqp_url, self._queue = amqp_url, queue
        self._start_worker, self._scaling, self._grace_period_s = start_worker, scaling, grace_period_s
        self._pods: list[Pod] = []
        self._polls: list[Poll] = []
        self._lines: list[str] = []
        self._began = time.monotonic()
        self._closing = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="keda")

    @property
    def polls(self) -> list[Poll]:
        if self._error is not None:
            raise self._error
        return list(self._polls)

    @property
    def workers(self) -> list[WorkerProcess]:
        """All that were ever started."""
        return [pod.worker for pod in self._pods]

    @property
    def alive(self) -> int:
        """How many the last look saw, and started."""
        polls = self.polls
        return polls[-1].workers + max(0, polls[-1].change) if polls else 0

    @property
    def timeline(self) -> str:
        return "\n".join(self._lines)

    def note(self, text: str) -> None:
        """Put into the timeline what the test does, or finds."""
        self._lines.append(f"{time.monotonic() - self._began:6.1f} s  {text}")

    def __enter__(self) -> KedaStandIn:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._thread.join()
        for pod in self._pods:
            pod.worker.__exit__(kind, error, trace)
        print(f"\n{self.timeline}")
        if error is None and self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            with pika.BlockingConnection(pika.URLParameters(self._amqp_url)) as connection:
                while not self._closing.is_set():
                    self._poll(connection)
                    self._closing.wait(POLLING_INTERVAL_S)
        except Exception as error:
            self._error = error

    def _poll(self, connection: pika.BlockingConnection) -> None:
        with connection.channel() as channel:
            ready = channel.queue_declare(self._queue, passive=True).method.message_count
        now = time.monotonic()
        alive = [pod for pod in self._pods if pod.is_alive]
        running = [pod for pod in alive if pod.killed_at is None]
        change = self._scaling.change(ready, len(running))
        self._record(Poll(now - self._began, ready, len(alive), change), len(running))
        for _ in range(change):
            self._pods.append(Pod(self._start_worker()))
        # the youngest go first, as with a ReplicaSet
        for pod in running[::-1][: max(0, -change)]:
            pod.killed_at = now + self._grace_period_s
            pod.worker.terminate()
        for pod in alive:
            if pod.killed_at is not None and now > pod.killed_at:
                self.note("the grace period of a pod is over: SIGKILL")
                pod.worker.kill()

    def _record(self, poll: Poll, running: int) -> None:
        before = self._polls[-1] if self._polls else None
        self._polls.append(poll)
        if before and not poll.change and (poll.ready, poll.workers) == (before.ready, before.workers):
            return  # no news
        parts = [f"ready {poll.ready}", f"workers {running}"]
        if poll.workers > running:
            parts.append(f"ending {poll.workers - running}")
        if poll.change:
            parts.append(f"starts {poll.change}" if poll.change > 0 else f"SIGTERM to {-poll.change}")
        self.note(", ".join(parts))
