"""Where everything is joined: the one place that knows all adapters.

Each `create_...` takes any port's adapter by the port's name; what is not given is made from
the settings. The containers say what is made of what.
"""

from __future__ import annotations

import os
import random
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from dependency_injector import containers, providers

from grid_async_task.adapter_choice import (
    open_callback_senders,
    open_notifier,
    open_observer,
    open_publisher,
    open_recurring,
    open_repository,
    open_runner,
    open_source,
    open_tracer,
)
from grid_async_task.adapters.process.clock import SystemClock
from grid_async_task.adapters.process.interrupts import SignalInterrupts
from grid_async_task.adapters.process.threads import ThreadBackground
from grid_async_task.application.alerts import Alerts
from grid_async_task.application.attempts import Attempts
from grid_async_task.application.callbacks import Callbacks
from grid_async_task.application.claims import Claims
from grid_async_task.application.client import Client
from grid_async_task.application.dead_letters import DeadLetters
from grid_async_task.application.group_claims import GroupClaims
from grid_async_task.application.group_commits import GroupCommits
from grid_async_task.application.group_leases import GroupLeases
from grid_async_task.application.groups import Groups
from grid_async_task.application.health import Limits
from grid_async_task.application.heartbeat import Heartbeat
from grid_async_task.application.idle import IdleTime
from grid_async_task.application.lifecycle import Lifecycle
from grid_async_task.application.pace import Pace
from grid_async_task.application.patience import Patience
from grid_async_task.application.producer import Producer
from grid_async_task.application.recurring import Recurring
from grid_async_task.application.shutdown import Shutdown
from grid_async_task.application.sweep import Sweep
from grid_async_task.application.takeover import Takeover
from grid_async_task.application.tickets import Tickets
from grid_async_task.application.vital_signs import VitalSigns
from grid_async_task.application.worker import Worker
from grid_async_task.domain.callback import HOLD_MARGIN_S
from grid_async_task.domain.message import MessageLimits
from grid_async_task.domain.retry import RetryPolicy, RetryStrategy
from grid_async_task.handler import TaskHandler
from grid_async_task.ports import (
    Background,
    BrokerUnavailable,
    CallbackSender,
    Clock,
    MessagePublisher,
    MessageSource,
    Notifier,
    Observer,
    PublishRefused,
    RepositoryUnavailable,
    TaskRepository,
)
from grid_async_task.settings import Settings


def _give_back_what_waits(settings: Settings, source: MessageSource, background: Background) -> Callable[[], object]:
    """Messages fetched behind a long task are invisible to an autoscaler; with a prefetch of 1 there are none."""
    if settings.prefetch_count == 1:
        return lambda: None
    return lambda: background.submit(source.pause)


def _background(settings: Settings) -> Background:
    """A callback's try that outlives its hold is nobody's any more: others may take it then."""
    return ThreadBackground(hung_after_s=settings.callback_timeout + HOLD_MARGIN_S)


def _may_group(settings: Settings, handler: TaskHandler, repository: TaskRepository) -> bool:
    """Not with a handler that wants to hear of each commit: `on_task_complete` comes before the next task starts."""
    hears_nothing = getattr(handler.on_task_complete, "__func__", None) is TaskHandler.on_task_complete
    return settings.prefetch_count > 1 and hears_nothing and repository.can_group


def _owner() -> str:
    """Who holds a lease: says where to look, and is never the same twice."""
    return f"{socket.gethostname()[:100]}:{os.getpid()}:{secrets.token_hex(8)}"


def _retry_policy(settings: Settings) -> RetryPolicy:
    return RetryPolicy(
        RetryStrategy(settings.retry_strategy),
        delay_s=settings.retry_delay,
        max_delay_s=max(settings.retry_max_delay, settings.retry_delay),
        jitter=settings.retry_jitter,
    )


def _is_overdue(settings: Settings, heartbeat: Heartbeat) -> Callable[[], bool]:
    return lambda: 0 < settings.task_timeout < (heartbeat.running_s or 0.0)


def _probes(settings: Settings, signs: VitalSigns, background: Background) -> AbstractContextManager[object]:
    """What answers probes while the worker runs. Nobody asks the broker for us where nobody asks us."""
    if settings.health_port is None:
        return nullcontext()
    return _answering_probes(settings.health_port, signs, background)


@contextmanager
def _answering_probes(port: int, signs: VitalSigns, background: Background) -> Iterator[None]:
    from grid_async_task.adapters.probes import ProbeServer

    with ProbeServer(port, {"/live": signs.live, "/ready": signs.ready, "/started": signs.started}):
        background.loop("grid-async-task watch", signs.watch)
        yield


# -- the worker -----------------------------------------------------------------------------------------


class WorkerContainer(containers.DeclarativeContainer):
    """What a worker is made of. `settings` and `handler` are given; any other provider may be overridden."""

    settings = providers.Dependency(instance_of=Settings)
    handler = providers.Dependency(instance_of=TaskHandler)
    enable_auto_ack = providers.Object(True)
    custom_callback_senders: providers.Object[dict[str, CallbackSender]] = providers.Object({})

    # ports
    clock = providers.Singleton(SystemClock)
    background = providers.Singleton(_background, settings)
    interrupts = providers.Singleton(SignalInterrupts)
    randomness = providers.Singleton(random.Random)
    repository = providers.Singleton(open_repository, settings)
    observer = providers.Singleton(open_observer, settings)
    source = providers.Singleton(open_source, settings, observer)
    publisher = providers.Singleton(open_publisher, settings, observer)
    notifier = providers.Singleton(open_notifier, settings, clock)
    callback_senders = providers.Singleton(open_callback_senders, settings, publisher, custom_callback_senders)

    # application
    owner = providers.Singleton(_owner)
    lifecycle = providers.Singleton(Lifecycle)
    runner = providers.Singleton(open_runner, settings, handler, interrupts, stopping=lifecycle.provided.stopping)
    database = providers.Singleton(Patience, "database", (RepositoryUnavailable,), clock, randomness, observer)
    broker = providers.Singleton(Patience, "broker", (BrokerUnavailable, PublishRefused), clock, randomness, observer)
    alerts = providers.Singleton(Alerts, notifier, background)
    group_leases = providers.Singleton(GroupLeases, repository, clock, lease_s=settings.provided.lease_seconds)
    heartbeat = providers.Singleton(
        Heartbeat,
        repository,
        clock,
        lifecycle,
        group_leases,
        lease_s=settings.provided.lease_seconds,
        progress_interval_s=settings.provided.progress_interval,
        on_long_run=providers.Singleton(_give_back_what_waits, settings, source, background),
    )
    shutdown = providers.Singleton(
        Shutdown,
        source,
        publisher,
        repository,
        notifier,
        background,
        lifecycle,
        clock,
        grace_s=settings.provided.shutdown_grace,
        is_overdue=providers.Singleton(_is_overdue, settings, heartbeat),
    )
    takeover = providers.Singleton(Takeover, repository, clock, lifecycle, settings.provided.lease_seconds)
    claims = providers.Singleton(
        Claims,
        repository,
        takeover,
        database,
        lifecycle,
        clock,
        owner=owner,
        queue=settings.provided.queue,
        lease_s=settings.provided.lease_seconds,
        max_retry_count=settings.provided.max_retry_count,
        max_crash_count=settings.provided.max_crash_count,
        give_back_fetched=source.provided.pause,
        on_failed=alerts.provided.task_failed,
        observer=observer,
    )
    pace = providers.Singleton(Pace)
    attempts = providers.Singleton(
        Attempts,
        runner,
        repository,
        heartbeat,
        database,
        lifecycle,
        randomness,
        clock,
        pace,
        retry_policy=providers.Singleton(_retry_policy, settings),
        max_crash_count=settings.provided.max_crash_count,
        enable_auto_ack=enable_auto_ack,
        on_lost=shutdown.provided.handler_lost_its_claim,
        observer=observer,
    )
    tickets = providers.Singleton(Tickets, source, publisher, broker, lifecycle, queue=settings.provided.queue)
    callbacks = providers.Singleton(
        Callbacks,
        repository,
        callback_senders,
        background,
        database,
        lifecycle,
        randomness,
        timeout_s=settings.provided.callback_timeout,
        retry_count=settings.provided.callback_retry_count,
        max_crash_count=settings.provided.max_crash_count,
        on_exhausted=alerts.provided.callback_exhausted,
        observer=observer,
    )
    dead_letters = providers.Singleton(
        DeadLetters,
        tickets,
        repository,
        database,
        lifecycle,
        clock,
        alerts,
        queue=settings.provided.queue,
        worker=owner,
        observer=observer,
    )
    recurring = providers.Singleton(
        Recurring,
        providers.Singleton(open_recurring, settings),
        repository,
        publisher,
        clock,
        queue=settings.provided.queue,
    )
    sweep = providers.Singleton(
        Sweep, repository, publisher, clock, lifecycle, randomness, queue=settings.provided.queue, recurring=recurring
    )
    idle = providers.Singleton(
        IdleTime,
        clock,
        timeout_s=settings.provided.idle_timeout,
        is_connected=providers.Singleton(lambda source: lambda: source.connected, source),
        is_busy=providers.Singleton(lambda background: lambda: background.busy, background),
    )
    vital_signs = providers.Singleton(
        VitalSigns,
        source,
        publisher,
        heartbeat,
        idle,
        database,
        lifecycle,
        clock,
        providers.Singleton(
            Limits,
            lease_s=settings.provided.lease_seconds,
            time_limit_s=settings.provided.task_timeout,
            grace_s=settings.provided.shutdown_grace,
        ),
    )
    probes = providers.Singleton(_probes, settings, vital_signs, background)
    limits = providers.Singleton(
        lambda settings, senders: MessageLimits(settings.message_max_bytes, frozenset(senders)),
        settings,
        callback_senders,
    )
    group_claims = providers.Singleton(
        GroupClaims,
        claims,
        repository,
        database,
        lifecycle,
        clock,
        owner=owner,
        queue=settings.provided.queue,
        lease_s=settings.provided.lease_seconds,
        max_retry_count=settings.provided.max_retry_count,
    )
    group_commits = providers.Singleton(
        GroupCommits, claims, group_claims, tickets, on_failed=alerts.provided.task_failed, observer=observer
    )
    groups = providers.Singleton(
        Groups,
        claims,
        group_claims,
        group_commits,
        attempts,
        source,
        tickets,
        pace,
        group_leases,
        lifecycle,
        clock,
        limits=limits,
        lease_s=settings.provided.lease_seconds,
        may_group=providers.Singleton(_may_group, settings, handler, repository),
        observer=observer,
    )
    worker = providers.Singleton(
        Worker,
        source=source,
        repository=repository,
        claims=claims,
        attempts=attempts,
        tickets=tickets,
        groups=groups,
        callbacks=callbacks,
        dead_letters=dead_letters,
        alerts=alerts,
        heartbeat=heartbeat,
        sweep=sweep,
        background=background,
        database=database,
        idle=idle,
        shutdown=shutdown,
        lifecycle=lifecycle,
        limits=limits,
        probes=probes,
        observer=observer,
    )


def create_worker(
    handler: TaskHandler,
    *,
    settings: Settings | None = None,
    repository: TaskRepository | None = None,
    source: MessageSource | None = None,
    publisher: MessagePublisher | None = None,
    callback_senders: Mapping[str, CallbackSender] | None = None,
    notifier: Notifier | None = None,
    clock: Clock | None = None,
    observer: Observer | None = None,
    enable_auto_ack: bool = True,
) -> Worker:
    """A worker that runs `handler`, ready for `.run()`; nothing is connected yet.

    `callback_senders` adds custom sinks by name, or replaces `http` and `rabbitmq`. Raises
    `ConfigurationError` where a setting is missing or wrong.
    """
    settings = settings or Settings.from_environment()
    _require(settings, repository=repository, source=source, publisher=publisher)
    container = WorkerContainer(settings=providers.Object(settings), handler=providers.Object(handler))
    container.enable_auto_ack.override(enable_auto_ack)
    container.custom_callback_senders.override(dict(callback_senders or {}))
    given = {
        "repository": repository,
        "source": source,
        "publisher": publisher,
        "notifier": notifier,
        "clock": clock,
        "observer": observer,
    }
    for name, adapter in given.items():
        if adapter is not None:
            getattr(container, name).override(providers.Object(adapter))
    worker: Worker = container.worker()
    return worker


def _require(settings: Settings, **given: Any) -> None:
    """All that is missing at once, and only what no given adapter makes needless."""
    wanted = ["rabbitmq_queue"]
    if given["source"] is None or given["publisher"] is None:
        wanted.insert(0, "amqp_url")
    if given["repository"] is None:
        wanted.append("mysql_url")
    settings.require(*wanted)


# -- the producer and the client ------------------------------------------------------------------------


def producer_parts(
    default_queue: str | None,
    record_pending: bool,
    settings: Settings | None,
    publisher: MessagePublisher | None,
    repository: TaskRepository | None,
    observer: Observer | None = None,
) -> dict[str, Any]:
    """What a producer is made of: the arguments of `Producer`."""
    settings = settings or Settings.from_environment()
    missing = ["amqp_url"] if publisher is None else []
    if record_pending and repository is None:
        missing.append("mysql_url")
    settings.require(*missing)
    if record_pending and repository is None:
        repository = open_repository(settings)
    return {
        "publisher": publisher or open_publisher(settings),
        "repository": repository if record_pending else None,
        "default_queue": default_queue or settings.queue,
        "message_max_bytes": settings.message_max_bytes,
        "exchange": settings.exchange,
        "observer": observer or open_tracer(settings),
    }


def client_parts(
    settings: Settings | None, repository: TaskRepository | None, publisher: MessagePublisher | None
) -> dict[str, Any]:
    """What a client is made of: the arguments of `Client`. The broker is needed only once something is retried."""
    used = settings or Settings.from_environment()
    return {
        "repository": repository or open_repository(used),
        "publisher": lambda: publisher or open_publisher(used),
    }


def create_producer(
    default_queue: str | None = None,
    *,
    record_pending: bool = True,
    settings: Settings | None = None,
    publisher: MessagePublisher | None = None,
    repository: TaskRepository | None = None,
    observer: Observer | None = None,
) -> Producer:
    """A producer; connects on first use."""
    return Producer(**producer_parts(default_queue, record_pending, settings, publisher, repository, observer))


def create_client(
    *,
    settings: Settings | None = None,
    repository: TaskRepository | None = None,
    publisher: MessagePublisher | None = None,
) -> Client:
    """A client for questions, cancels and retries; connects on first use."""
    return Client(**client_parts(settings, repository, publisher))
