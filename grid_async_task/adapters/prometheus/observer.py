"""What one worker does, as metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from grid_async_task.adapters.prometheus.labels import BoundedLabel
from grid_async_task.adapters.prometheus.server import MetricsServer
from grid_async_task.application.due_time import DUE_HEADER
from grid_async_task.domain.message import BUILT_IN_CALLBACK_TYPES, REASONS
from grid_async_task.domain.outcome import Outcome
from grid_async_task.domain.task import Task
from grid_async_task.ports import OUTCOME_WORDS, CallbackTry, Observer, outcome_word

#: the types of tasks that have time series of their own, some fifty each; all others share theirs
MAX_TASK_TYPES = 50
#: seconds, from tasks of milliseconds to those of hours
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 1800, 3600, 4 * 3600)
GROUP_SIZES = (2, 3, 5, 10, 20, 50, 100)


class PrometheusObserver(Observer):
    """Serves its metrics on a port while the worker runs. They have a registry of their own, not the global one."""

    def __init__(self, queue: str, port: int) -> None:
        self.registry = registry = CollectorRegistry()
        self._server = MetricsServer(port, registry)
        self._task_type = BoundedLabel(MAX_TASK_TYPES)
        self._begun_types: set[str] = set()
        self._queue = queue
        by_queue = ["queue"]
        by_type = ["queue", "task_type"]
        self._tasks = Counter(
            "grid_async_task_tasks",
            "Attempts that have ended, by what is committed of them: success, failed, cancelled, retry, snoozed, "
            "handed_back, crashed",
            [*by_type, "outcome"],
            registry=registry,
        )
        self._handler = Histogram(
            "grid_async_task_handler_seconds",
            "How long handlers ran, whatever came of it",
            by_type,
            buckets=SECONDS,
            registry=registry,
        )
        self._wait = Histogram(
            "grid_async_task_wait_seconds",
            "From the recording of a task by its producer to its first start; not of tasks that nobody had recorded",
            by_type,
            buckets=SECONDS,
            registry=registry,
        )
        self._running = Gauge(
            "grid_async_task_running", "Tasks that run in this worker", by_queue, registry=registry
        ).labels(queue)
        self._group_size = Histogram(
            "grid_async_task_group_size",
            "Tasks that were claimed by one commit, where there were several",
            by_queue,
            buckets=GROUP_SIZES,
            registry=registry,
        ).labels(queue)
        self._claims_lost = Counter(
            "grid_async_task_claims_lost",
            "Attempts of this worker whose result was thrown away, their lease having been taken over",
            by_queue,
            registry=registry,
        ).labels(queue)
        takeovers = Counter(
            "grid_async_task_takeovers",
            "Tasks that this worker has taken over from one that was lost; grouped: it had several at once, so the "
            "loss is held against none of them",
            [*by_queue, "grouped"],
            registry=registry,
        )
        self._takeovers = {grouped: takeovers.labels(queue, str(grouped).lower()) for grouped in (False, True)}
        self._callbacks = Counter(
            "grid_async_task_callback_tries",
            "Tries to deliver a callback: sent, failed, given_up, put_off",
            [*by_queue, "type", "result"],
            registry=registry,
        )
        self._dead_letters = Counter(
            "grid_async_task_dead_letters",
            "Messages that were no valid task",
            [*by_queue, "reason"],
            registry=registry,
        )
        self._connections_lost = Counter(
            "grid_async_task_connections_lost",
            "Times that something was gone: source, publisher (the broker's connections), database, broker",
            [*by_queue, "to"],
            registry=registry,
        )
        ProcessCollector(registry=registry)
        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        """To Prometheus a series that begins with 1 has not increased: the first of its kind would be missed."""
        for callback_type in BUILT_IN_CALLBACK_TYPES:
            for result in CallbackTry:
                self._callbacks.labels(self._queue, callback_type, result.value)
        for reason in REASONS:
            self._dead_letters.labels(self._queue, reason)
        for to in ("source", "publisher", "database", "broker"):
            self._connections_lost.labels(self._queue, to)

    def _begin_type_at_zero(self, task_type: str) -> None:
        """The same for a type of task, once it is known: a worker may live for one task only."""
        if task_type not in self._begun_types:
            self._begun_types.add(task_type)
            for word in OUTCOME_WORDS:
                self._tasks.labels(self._queue, task_type, word)

    def while_working(self) -> AbstractContextManager[object]:
        return self._server

    @contextmanager
    def attempt(self, task: Task, headers: Mapping[str, Any]) -> Iterator[dict[str, str]]:
        self._begin_type_at_zero(self._task_type(task.task_type))
        was_for_later = DUE_HEADER in headers
        if task.attempt == 1 and not was_for_later and task.started_at is not None and task.created_at is not None:
            waited_s = (task.started_at - task.created_at).total_seconds()
            # both are the same moment where the claim has recorded the task
            if waited_s > 0:
                self._wait.labels(self._queue, self._task_type(task.task_type)).observe(waited_s)
        self._running.inc()
        try:
            yield {}
        finally:
            self._running.dec()

    def claimed_together(self, tasks: int) -> None:
        self._group_size.observe(tasks)

    def handler_ran(self, task: Task, seconds: float) -> None:
        self._handler.labels(self._queue, self._task_type(task.task_type)).observe(seconds)

    def settled(self, task: Task, outcome: Outcome) -> None:
        self._tasks.labels(self._queue, self._task_type(task.task_type), outcome_word(outcome)).inc()

    def claim_lost(self, task: Task) -> None:
        self._claims_lost.inc()

    def taken_over(self, task: Task) -> None:
        self._takeovers[task.grouped].inc()

    def callback_tried(self, task: Task, result: CallbackTry) -> None:
        self._callbacks.labels(self._queue, task.callback.type, result.value).inc()

    def dead_letter(self, reason: str) -> None:
        self._dead_letters.labels(self._queue, reason).inc()

    def connection_lost(self, to: str) -> None:
        self._connections_lost.labels(self._queue, to).inc()
