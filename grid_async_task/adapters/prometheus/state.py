"""How a queue stands, as metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge

from grid_async_task.application.queue_state import QueueReport
from grid_async_task.domain.task import TaskStatus


class StateMetrics:
    """Shows the newest report. What could not be seen is missing, rather than old."""

    def __init__(self, queue: str) -> None:
        self.registry = CollectorRegistry()
        self._queue = queue
        self._ready = self._gauge("queue_ready", "Messages of the work queue that wait for a worker")
        self._consumers = self._gauge("queue_consumers", "Workers that take messages from the queue at this moment")
        self._dead = self._gauge("dead_letters_waiting", "Messages on the dead letter queue")
        self._tasks = self._gauge("backlog_tasks", "Tasks that are not over: pending, running, retrying", "status")
        self._oldest = self._gauge(
            "oldest_waiting_seconds", "Since the pending task became ready that has waited longest"
        )
        self._callbacks = self._gauge("callbacks_due", "Callbacks that have not been delivered yet")
        self._oldest_callback = self._gauge(
            "oldest_callback_seconds", "Since that task ended whose callback has been due for longest"
        )
        self._reachable = self._gauge("reachable", "1 where the server answered at the newest look", "server")

    def show(self, report: QueueReport) -> None:
        for gauge in (self._ready, self._consumers, self._dead, self._tasks):
            gauge.clear()
        for gauge in (self._oldest, self._callbacks, self._oldest_callback):
            gauge.clear()
        queue = self._queue
        if report.work is not None:
            self._ready.labels(queue).set(report.work.ready)
            if report.work.consumers is not None:
                self._consumers.labels(queue).set(report.work.consumers)
        if report.broker_answers:
            self._dead.labels(queue).set(0 if report.dead is None else report.dead.ready)
        if report.backlog is not None:
            for status in TaskStatus:
                if not status.is_final:
                    self._tasks.labels(queue, status.value).set(report.backlog.tasks.get(status, 0))
            self._oldest.labels(queue).set(report.backlog.oldest_waiting_s)
            self._callbacks.labels(queue).set(report.backlog.callbacks_due)
            self._oldest_callback.labels(queue).set(report.backlog.oldest_callback_s)
        self._reachable.labels(queue, "broker").set(report.broker_answers)
        self._reachable.labels(queue, "database").set(report.database_answers)

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(f"grid_async_task_{name}", meaning, ["queue", *labels], registry=self.registry)
