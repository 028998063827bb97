"""Which adapter a setting names: a URL's scheme decides about table and broker."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from functools import cache, partial
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import TYPE_CHECKING

from grid_async_task.adapters.process.clock import SystemClock
from grid_async_task.adapters.process.in_process import InProcessRunner
from grid_async_task.adapters.reply_queue import ReplyQueueSender
from grid_async_task.application.observers import Observers
from grid_async_task.domain.errors import ConfigurationError
from grid_async_task.handler import TaskHandler
from grid_async_task.ports import (
    NO_OBSERVER,
    CallbackSender,
    Clock,
    HandlerRunner,
    Interrupts,
    MessagePublisher,
    MessageSource,
    NoNotifier,
    Notifier,
    Observer,
    RecurringTask,
    TaskRepository,
)
from grid_async_task.settings import Settings

if TYPE_CHECKING:
    from grid_async_task.adapters.memory import MemoryBroker, MemoryTaskRepository

CALLBACK_SENDERS_GROUP = "grid_async_task.callback_senders"


@cache
def _memory() -> tuple[MemoryBroker, MemoryTaskRepository]:
    """What `memory://` means: one broker and one table for the whole process."""
    from grid_async_task.adapters.memory import MemoryBroker, MemoryTaskRepository

    clock = SystemClock()
    return MemoryBroker(clock), MemoryTaskRepository(clock)


def open_repository(settings: Settings) -> TaskRepository:
    """The table that `MYSQL_URL` names."""
    settings.require("mysql_url")
    assert settings.mysql_url is not None
    if settings.mysql_url.startswith("memory:"):
        return _memory()[1]
    from grid_async_task.adapters.sql import SqlTaskRepository

    return SqlTaskRepository(
        settings.mysql_url,
        table=settings.table,
        pool_size=settings.db_pool_size,
        max_overflow=settings.db_max_overflow,
        pool_timeout_s=settings.db_pool_timeout,
        pool_recycle_s=settings.db_pool_recycle,
        # A heartbeat that hangs on a dead server has to fail, and be tried anew elsewhere, in less time than others
        # watch an expired lease (a third of it) before they take the task over.
        answer_timeout_s=min(30.0, max(2.0, settings.lease_seconds / 6)),
    )


def open_runner(
    settings: Settings, handler: TaskHandler, interrupts: Interrupts, *, stopping: threading.Event
) -> HandlerRunner:
    """Where the handler runs, by `ISOLATION`."""
    if settings.isolation == "none":
        return InProcessRunner(
            handler, interrupts, time_limit_s=settings.task_timeout, result_max_bytes=settings.result_max_bytes
        )
    from grid_async_task.adapters.process.child_runner import ChildProcessRunner
    from grid_async_task.logs import forward_logs, write_forwarded

    return ChildProcessRunner(
        handler,
        time_limit_s=settings.task_timeout,
        result_max_bytes=settings.result_max_bytes,
        forward_logs=partial(forward_logs, settings.log_level),
        write_line=write_forwarded,
        stopping=stopping,
    )


def open_recurring(settings: Settings) -> list[RecurringTask]:
    """The recurring tasks of the file that `RECURRING` names. Raises `ConfigurationError`."""
    if settings.recurring is None:
        return []
    from grid_async_task.adapters.cron import read_recurring

    return read_recurring(settings.recurring)


def open_source(settings: Settings, observer: Observer = NO_OBSERVER) -> MessageSource:
    """The consumer of the work queue on the broker that `AMQP_URL` names."""
    settings.require("amqp_url", "rabbitmq_queue")
    assert settings.amqp_url is not None
    assert settings.queue is not None
    if settings.amqp_url.startswith("memory:"):
        return _memory()[0].source(settings.queue, settings.prefetch_count)
    if settings.amqp_url.startswith("sqlite:"):
        from grid_async_task.adapters.embedded import EmbeddedMessageSource

        return EmbeddedMessageSource(settings.amqp_url, settings.queue, prefetch=settings.prefetch_count)
    from grid_async_task.adapters.rabbitmq import RabbitMessageSource

    return RabbitMessageSource(
        settings.amqp_url,
        settings.queue,
        prefetch=settings.prefetch_count,
        queue_type=settings.queue_type,
        observer=observer,
    )


def open_publisher(settings: Settings, observer: Observer = NO_OBSERVER) -> MessagePublisher:
    """The way to all queues of the broker that `AMQP_URL` names."""
    settings.require("amqp_url")
    assert settings.amqp_url is not None
    if settings.amqp_url.startswith("memory:"):
        return _memory()[0].publisher()
    if settings.amqp_url.startswith("sqlite:"):
        from grid_async_task.adapters.embedded import EmbeddedMessagePublisher

        return EmbeddedMessagePublisher(settings.amqp_url)
    from grid_async_task.adapters.rabbitmq import RabbitMessagePublisher

    return RabbitMessagePublisher(
        settings.amqp_url,
        queue_type=settings.queue_type,
        timeout_s=settings.publish_timeout,
        observer=observer,
    )


def open_observer(settings: Settings) -> Observer:
    """Metrics where a worker has a port for them, traces where the extra `otel` is installed; else nobody.

    `settings.queue` is the queue of a worker. Raises `ConfigurationError` where the extra `metrics` is missing.
    """
    observers = [*_metrics(settings), *_traces(settings)]
    if not observers:
        return NO_OBSERVER
    return observers[0] if len(observers) == 1 else Observers(observers)


def open_tracer(settings: Settings) -> Observer:
    """The same for a producer, which has no metrics."""
    return next(_traces(settings), NO_OBSERVER)


def _metrics(settings: Settings) -> Iterator[Observer]:
    if settings.metrics_port is None:
        return
    require_extra("metrics", "prometheus_client", "METRICS_PORT")
    from grid_async_task.adapters.prometheus import PrometheusObserver

    yield PrometheusObserver(settings.queue or "", settings.metrics_port)


def _traces(settings: Settings) -> Iterator[Observer]:
    from grid_async_task.adapters.opentelemetry.environment import may_trace

    if may_trace():
        from grid_async_task.adapters.opentelemetry import LateTracing

        yield LateTracing(_messaging_system(settings))


def export_traces() -> None:
    """For the program: send traces to where the variables of OpenTelemetry say. Raises `ConfigurationError`."""
    from grid_async_task.adapters.opentelemetry.environment import may_export

    if may_export():
        from grid_async_task.adapters.opentelemetry.set_up import export_as_the_environment_says

        export_as_the_environment_says()


def _messaging_system(settings: Settings) -> str:
    """What OpenTelemetry calls the broker; `AMQP_URL` is not set where a publisher was given."""
    scheme = (settings.amqp_url or "amqp:").partition(":")[0]
    return "rabbitmq" if scheme.startswith("amqp") else f"grid_async_task_{scheme}"


def require_extra(extra: str, module: str, why: str) -> None:
    """Raises `ConfigurationError` where an optional part of the installation is missing."""
    if find_spec(module) is None:
        raise ConfigurationError(f"{why} needs the extra {extra!r}: pip install 'grid-async-task[{extra}]'")


def open_notifier(settings: Settings, clock: Clock) -> Notifier:
    """Feishu where a webhook is set, else nobody."""
    if not settings.feishu_webhook_url:
        return NoNotifier()
    from grid_async_task.adapters.feishu import FeishuNotifier

    return FeishuNotifier(settings.feishu_webhook_url, settings.feishu_secret, clock=clock)


def open_callback_senders(
    settings: Settings, publisher: MessagePublisher, custom: Mapping[str, CallbackSender]
) -> dict[str, CallbackSender]:
    """The two built-in ways, those that installed packages register, and those given by name; the last wins."""
    from grid_async_task.adapters.http import HttpCallbackSender

    built_in: dict[str, CallbackSender] = {
        "http": HttpCallbackSender(
            timeout_s=settings.callback_timeout,
            secrets=settings.callback_secret,
            use_proxy=settings.callback_use_proxy,
            allowed_hosts=settings.callback_allowed_hosts,
            block_private=settings.callback_block_private,
        ),
        "rabbitmq": ReplyQueueSender(publisher),
    }
    installed = {entry.name: entry.load()() for entry in entry_points(group=CALLBACK_SENDERS_GROUP)}
    return {**built_in, **installed, **custom}
