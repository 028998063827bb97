"""Taking the signs of life of a worker's parts."""

from __future__ import annotations

from grid_async_task.application import health
from grid_async_task.application.health import Checks, Limits, Vitals
from grid_async_task.application.heartbeat import Heartbeat
from grid_async_task.application.idle import IdleTime
from grid_async_task.application.lifecycle import Lifecycle
from grid_async_task.application.patience import Patience
from grid_async_task.ports import BrokerUnavailable, Clock, MessagePublisher, MessageSource

#: seconds between two questions to the broker
LOOK_EVERY_S = 30.0


class VitalSigns:
    """May be asked from any thread; no answer waits for a server."""

    def __init__(
        self,
        source: MessageSource,
        publisher: MessagePublisher,
        heartbeat: Heartbeat,
        idle: IdleTime,
        database: Patience,
        lifecycle: Lifecycle,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self._source = source
        self._publisher = publisher
        self._heartbeat = heartbeat
        self._idle = idle
        self._database = database
        self._lifecycle = lifecycle
        self._clock = clock
        self._limits = limits
        self._deaf_looks = 0

    def watch(self) -> None:
        """The loop of a thread that asks the broker what nobody else can know."""
        while not self._clock.wait(self._lifecycle.stopping, LOOK_EVERY_S):
            try:
                self._deaf_looks = self._deaf_looks + 1 if self._source.is_deaf() else 0
            except BrokerUnavailable:
                self._deaf_looks = 0

    def live(self) -> Checks:
        return health.live(self.take(), self._limits)

    def ready(self) -> Checks:
        return health.ready(self.take(), self._limits)

    def started(self) -> Checks:
        """Who can be asked has started: its handler is loaded. That servers are away must not restart it."""
        return {}

    def take(self) -> Vitals:
        return Vitals(
            is_stopping=self._lifecycle.stopping.is_set(),
            loop_silent_s=self._idle.silent_s,
            heartbeat_silent_s=self._heartbeat.silent_s,
            source_silent_s=self._source.silent_s,
            publisher_silent_s=self._publisher.silent_s,
            is_connected=self._source.connected,
            is_served=self._source.subscribed or self._idle.is_standing_still,
            deaf_looks=self._deaf_looks,
            database_answers=not (self._database.is_away or self._heartbeat.is_failing),
            running_s=self._heartbeat.running_s,
            lease_age_s=self._heartbeat.lease_age_s,
        )
