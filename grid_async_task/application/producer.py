"""Sending tasks: published first, then recorded, so that a task is accepted while the database is away."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

import structlog

from grid_async_task.application.preparation import Preparation, PreparedTask
from grid_async_task.application.records import Records
from grid_async_task.application.relay import Relay
from grid_async_task.domain.errors import (
    BatchError,
    ConfigurationError,
    ConnectionError,
    GridAsyncTaskError,
    ValidationError,
)
from grid_async_task.domain.message import MessageLimits
from grid_async_task.domain.task import TaskStatus
from grid_async_task.ports import NO_OBSERVER, MessagePublisher, Observer, OutgoingMessage, TaskRepository

AnyProducer = TypeVar("AnyProducer", bound="Producer")

log = structlog.get_logger(__name__)


def utc_now() -> datetime:
    return datetime.now(timezone.utc)


class Producer:
    """Sends tasks to work queues. May be shared by threads. Connects on first use."""

    def __init__(
        self,
        publisher: MessagePublisher,
        repository: TaskRepository | None,
        *,
        default_queue: str | None,
        message_max_bytes: int,
        exchange: str = "",
        observer: Observer = NO_OBSERVER,
        relay: Relay | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._publisher = publisher
        self._records = Records(repository, monotonic)
        self._repository = repository
        self._relay = relay or (None if repository is None else Relay(repository, publisher))
        self._monotonic = monotonic
        limits = MessageLimits(max_bytes=message_max_bytes, callback_types=None)
        self._preparation = Preparation(default_queue, limits, exchange, monotonic, now)
        self._observer = observer
        self._declared: set[str] = set()
        self._lock = threading.Lock()
        self._closed = False

    def send_task(
        self,
        task_data: dict[str, Any],
        task_id: str | None = None,
        queue_name: str | None = None,
        *,
        delay: float | None = None,
        at: datetime | None = None,
        priority: int | None = None,
    ) -> str:
        """Send one task and return its id; returns only once the broker has it safe.

        The id is `task_id`, else `task_data["task_id"]`, else a new UUID. With `delay` (seconds) or `at` (UTC where
        it names no zone) it begins no sooner, and is invisible in its queue until then. `priority` (0 to 255, higher
        first) means something on queues that were declared with `x-max-priority`. Raises `ValidationError` before
        anything is sent, `ConnectionError` (with `.task_id` and `.maybe_sent`: send again with the same
        id) or another `GridAsyncTaskError` where the broker refuses the task.
        """
        prepared = self._preparation.prepare(task_data, task_id, queue_name, priority)
        prepared = self._preparation.put_off(prepared, delay, at)
        _, failed = self._send([prepared])
        if failed:
            raise failed[0]
        return prepared.message.task_id

    def send_task_to_queue(self, task_data: dict[str, Any], queue_name: str, task_id: str | None = None) -> str:
        """`send_task` with the queue first."""
        return self.send_task(task_data, task_id, queue_name)

    def batch_send_tasks(self, tasks: Sequence[dict[str, Any]], queue_name: str | None = None) -> list[str]:
        """Send many tasks with one wait; the ids in the order of the items.

        An item with the key `task_data` is `{"task_data": {...}, "task_id"?, "queue_name"?}`, any other is bare
        task data; an item's own queue beats the argument. Raises `BatchError`: with nothing sent if
        an item is invalid, else with the ids that were accepted.
        """
        prepared, invalid = self._prepare_all(tasks, queue_name)
        if invalid:
            raise BatchError([], invalid)
        accepted, failed = self._send(prepared)
        if failed:
            raise BatchError(accepted, failed)
        return accepted

    def enqueue(
        self,
        connection_or_session: Any,
        task_data: dict[str, Any],
        task_id: str | None = None,
        queue_name: str | None = None,
        *,
        delay: float | None = None,
        at: datetime | None = None,
        priority: int | None = None,
    ) -> str:
        """Send one task if and when the application's own transaction is committed, and return its id.

        `connection_or_session` is a SQLAlchemy `Connection` or `Session` of the database that has our table. The
        task's row is written there, with the application's own rows or not at all; its message is published right
        after the commit, or by the next sweep where this process does not live so long. `delay` (counted from
        this call), `at` and `priority` are those of `send_task`; what the sweep publishes has no priority and
        no trace. A task whose id exists is left as it is. Raises `ValidationError`, `ConfigurationError`, and what
        SQLAlchemy raises.
        """
        if self._closed:
            raise GridAsyncTaskError("this producer is closed; make a new one")
        repository, relay = self._repository, self._relay
        if repository is None or relay is None:
            raise ConfigurationError("enqueue writes to the table: set MYSQL_URL, and leave record_pending=True")
        prepared = self._preparation.prepare(task_data, task_id, queue_name, priority)
        prepared = self._preparation.put_off(prepared, delay, at)
        message = prepared.message

        def write(messages: Sequence[OutgoingMessage]) -> list[Exception | None]:
            (asked,) = messages
            # its body is in the row, and may be large
            committing = partial(relay.committing, message.task_id, replace(asked, body=b""))
            repository.insert_owed(message, asked.queue, asked.delay_s, connection_or_session, committing)
            return [None]

        (error,) = self._observer.sending([prepared.outgoing], write)
        if error is not None:
            raise error
        return message.task_id

    def get_declared_queues(self) -> set[str]:
        """The queues that this producer has declared or found; the broker is not asked."""
        with self._lock:
            return set(self._declared)

    def is_queue_declared(self, queue_name: str) -> bool:
        """Whether this producer has declared or found the queue."""
        with self._lock:
            return queue_name in self._declared

    def close(self) -> None:
        """Let go of the connections, those of adapters that were given too. Whoever sends afterwards gets an error."""
        self._closed = True
        try:
            if self._relay is not None:
                self._relay.close()
            self._publisher.close()
        finally:
            self._records.close()

    def __enter__(self: AnyProducer) -> AnyProducer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- step by step -------------------------------------------------------------------------

    def _prepare_all(
        self, tasks: Sequence[dict[str, Any]], queue_name: str | None
    ) -> tuple[list[PreparedTask], dict[int, Exception]]:
        prepared: list[PreparedTask] = []
        invalid: dict[int, Exception] = {}
        for index, item in enumerate(tasks):
            try:
                if isinstance(item, dict) and "task_data" in item:
                    own_queue = item.get("queue_name") or queue_name
                    prepared.append(self._preparation.prepare(item["task_data"], item.get("task_id"), own_queue))
                else:
                    prepared.append(self._preparation.prepare(item, None, queue_name))
            except ValidationError as error:
                invalid[index] = error
        return prepared, invalid

    def _send(self, batch: list[PreparedTask]) -> tuple[list[str], dict[int, Exception]]:
        if self._closed:
            raise GridAsyncTaskError("this producer is closed; make a new one")
        done = self._already_done(batch)
        to_send = [prepared for prepared in batch if prepared.message.task_id not in done]
        errors = dict(zip(map(id, to_send), self._publish(to_send), strict=True))
        accepted: list[str] = []
        failed: dict[int, Exception] = {}
        for index, prepared in enumerate(batch):
            error = errors.get(id(prepared))
            if error is None:
                accepted.append(prepared.message.task_id)
            else:
                failed[index] = _with_task_id(error, prepared.message.task_id)
        self._record([prepared for prepared in to_send if errors[id(prepared)] is None])
        return accepted, failed

    def _publish(self, batch: list[PreparedTask]) -> list[Exception | None]:
        """What became of each: None, or why it was not sent."""
        no_queue = self._declare({prepared.outgoing.queue for prepared in batch})
        to_publish = [prepared.outgoing for prepared in batch if prepared.outgoing.queue not in no_queue]
        published = iter(self._observer.sending(to_publish, self._publisher.publish_many) if to_publish else [])
        return [
            no_queue[queue] if (queue := prepared.outgoing.queue) in no_queue else next(published) for prepared in batch
        ]

    def _declare(self, queues: set[str]) -> dict[str, Exception]:
        """The queues that could not be declared, and why."""
        with self._lock:
            unknown = queues - self._declared
        errors: dict[str, Exception] = {}
        for queue in unknown:
            try:
                self._publisher.declare(queue)
            except GridAsyncTaskError as error:
                errors[queue] = error
            else:
                with self._lock:
                    self._declared.add(queue)
        return errors

    def _already_done(self, batch: list[PreparedTask]) -> set[str]:
        """Ids whose task exists and is past `pending`: sending them again would change nothing."""
        done: set[str] = set()
        for task_id in (prepared.message.task_id for prepared in batch if prepared.id_was_given):
            status = self._records.status_of(task_id)
            if status is not None:
                log.warning("a task of this id exists", task_id=task_id, status=status.value)
                if status is not TaskStatus.PENDING:
                    done.add(task_id)
        return done

    def _record(self, batch: list[PreparedTask]) -> None:
        at_once = [prepared for prepared in batch if prepared.due_monotonic is None]
        if at_once:
            self._records.add_pending(
                [prepared.message for prepared in at_once], [prepared.outgoing.queue for prepared in at_once]
            )
        for prepared in batch:
            if prepared.due_monotonic is not None:
                left_s = max(0.0, prepared.due_monotonic - self._monotonic())
                self._records.add_delayed(prepared.message, prepared.outgoing.queue, left_s)


def _with_task_id(error: Exception, task_id: str) -> Exception:
    """Of its own for each task: one lost connection is the same error for many."""
    if not isinstance(error, ConnectionError):
        return error
    own = copy.copy(error)
    own.task_id = task_id
    own.__cause__ = error.__cause__
    return own
