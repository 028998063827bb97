"""The worker: the way of a task, from its delivery to the acknowledgement."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import structlog

from grid_async_task.application.alerts import Alerts
from grid_async_task.application.attempts import Attempts, Ended
from grid_async_task.application.callbacks import Callbacks
from grid_async_task.application.claims import ClaimAnswer, Claimed, Claims
from grid_async_task.application.dead_letters import DeadLetters
from grid_async_task.application.envelope import MANY_DELIVERIES
from grid_async_task.application.group import Member
from grid_async_task.application.groups import Groups
from grid_async_task.application.heartbeat import Heartbeat
from grid_async_task.application.idle import IdleTime
from grid_async_task.application.lifecycle import Lifecycle
from grid_async_task.application.patience import Patience
from grid_async_task.application.shutdown import Shutdown
from grid_async_task.application.sweep import Sweep
from grid_async_task.application.task_fields import fields_of, task_fields
from grid_async_task.application.tickets import Tickets
from grid_async_task.domain.message import InvalidMessage, MessageLimits, TaskMessage, Ticket
from grid_async_task.domain.message_parsing import parse_message
from grid_async_task.domain.outcome import Crashed, Failed, HandedBack, RetryLater, Snoozed, Succeeded
from grid_async_task.domain.task import Task
from grid_async_task.domain.verdict import CallbackDue, Elsewhere, Finished, NotYet
from grid_async_task.ports import (
    NO_OBSERVER,
    Background,
    BrokerUnavailable,
    DataRefused,
    Delivery,
    MessageSource,
    Observer,
    PublishRefused,
    TaskRepository,
)

#: seconds the worker waits for a message before it looks at the time
LOOK_AT_CLOCK_EVERY_S = 1.0

log = structlog.get_logger(__name__)


class HandBack:
    """The attempt ended without a result: somebody else may run it at once."""


Next = ClaimAnswer | HandBack


class Worker:
    """Takes one task at a time from one queue."""

    def __init__(
        self,
        source: MessageSource,
        repository: TaskRepository,
        claims: Claims,
        attempts: Attempts,
        tickets: Tickets,
        groups: Groups,
        callbacks: Callbacks,
        dead_letters: DeadLetters,
        alerts: Alerts,
        heartbeat: Heartbeat,
        sweep: Sweep,
        background: Background,
        database: Patience,
        idle: IdleTime,
        shutdown: Shutdown,
        lifecycle: Lifecycle,
        limits: MessageLimits,
        probes: AbstractContextManager[object],
        observer: Observer = NO_OBSERVER,
    ) -> None:
        self._source = source
        self._repository = repository
        self._claims = claims
        self._attempts = attempts
        self._tickets = tickets
        self._groups = groups
        self._callbacks = callbacks
        self._dead_letters = dead_letters
        self._alerts = alerts
        self._heartbeat = heartbeat
        self._sweep = sweep
        self._background = background
        self._database = database
        self._idle = idle
        self._shutdown = shutdown
        self._lifecycle = lifecycle
        self._limits = limits
        self._probes = probes
        self._observer = observer

    def run(self) -> None:
        """Work until the worker is stopped or has been idle for long enough. May be called once."""
        with (
            self._attempts.in_this_thread(),
            self._probes,
            self._observer.while_working(),
            self._shutdown.at_the_end(),
        ):
            self._database.until_answered(self._repository.prepare, until=self._lifecycle.stopping)
            log.info("worker started")
            self._idle.restart()
            self._background.loop("grid-async-task heartbeat", self._heartbeat.run)
            self._background.loop("grid-async-task sweep", self._sweep.run)
            self._background.loop("grid-async-task groups", self._groups.watch)
            while not self._lifecycle.stopping.is_set() and not self._idle.is_over():
                delivery = self._source.next(min(LOOK_AT_CLOCK_EVERY_S, self._idle.left_s))
                if delivery is not None and not self._lifecycle.stopping.is_set():
                    with self._idle.standing_still():
                        self._handle_with_others(delivery)

    def stop(self) -> None:
        """Take no new task; the running one has the grace period to end. Returns at once, from any thread."""
        self._shutdown.begin(lambda: self._attempts.current)

    @property
    def current_task_id(self) -> str | None:
        """The task whose handler runs now."""
        running = self._attempts.current
        return running.task_id if running else None

    @property
    def is_connected(self) -> bool:
        """Whether the broker can be heard at this moment."""
        return self._source.connected

    def _handle_with_others(self, delivery: Delivery) -> None:
        """Tasks of milliseconds share their commits; all that is not so simple goes the way of one delivery."""
        room = self._groups.room
        others = self._source.take(room - 1) if room > 1 else []
        if not others:
            self.handle(delivery)
        elif self._groups.run([delivery, *others], self._conclude):
            self._idle.restart()
        while not self._lifecycle.stopping.is_set() and (each := self._source.next_aside()) is not None:
            self.handle(each)

    def handle(self, delivery: Delivery) -> None:
        """The way of one delivery. It is acknowledged only once what it stands for is committed (SPEC 4.5).

        A crash between any two lines leaves the delivery unacknowledged: it comes back, and the row
        says how far it got.
        """
        if delivery.delivery_count >= MANY_DELIVERIES:
            self._tickets.give_back(delivery)
            return
        try:
            message = parse_message(delivery.body, self._limits)
            log.info("message received", task_id=message.task_id, size=len(delivery.body))
            wait_s = self._claims.seconds_early(delivery, message.task_id)
            self._follow(delivery, message, NotYet(wait_s) if wait_s else self._claims.claim(message))
        except InvalidMessage as reason:
            self._bury(delivery, reason)
        except DataRefused as refusal:
            self._bury(delivery, _refused(message, refusal))

    def _follow(self, delivery: Delivery, message: TaskMessage | Ticket, answer: Next | None) -> None:
        while True:
            match answer:
                case Claimed(task):
                    answer = self._run(task, delivery)
                case CallbackDue(task):
                    answer = self._callbacks.deliver(task, delivery.headers, self._when_late(delivery))
                    self._idle.restart()
                case None:  # the row changed under our hands
                    answer = self._claims.look(message)
                case NotYet(wait_s):
                    return self._tickets.park(delivery, wait_s)
                case HandBack():
                    return self._tickets.give_back(delivery)
                case Elsewhere(queue):
                    log.warning("task belongs to another queue, sending it there", task_id=message.task_id, to=queue)
                    return self._tickets.send_to(delivery, queue)
                case Finished():
                    return self._tickets.ack(delivery)

    def _run(self, task: Task, delivery: Delivery) -> Next | None:
        """Run a claimed task and commit its outcome; what its ticket has to do next."""
        with (
            self._observer.attempt(task, delivery.headers) as trace,
            task_fields(**fields_of(task), **trace),
        ):
            log.info("task claimed")
            try:
                return self._settle(task, self._attempts.run(task))
            finally:
                self._attempts.forget()
                self._idle.restart()

    def _settle(self, task: Task, ended: Ended) -> Next | None:
        settled = self._claims.settle(task, ended.outcome, ended.progress)
        if settled is None:
            log.warning("claim lost, the result of this attempt is not kept")
            self._observer.claim_lost(task)
            return None
        self._observer.settled(task, settled)
        return self._after(task, ended, settled)

    def _conclude(self, member: Member, ended: Ended) -> None:
        """The rest of the way of a delivery that was claimed together with others."""
        self._follow(member.delivery, member.message, self._settle(member.task, ended))

    def _after(
        self, task: Task, ended: Ended, settled: Succeeded | Failed | RetryLater | Snoozed | HandedBack | Crashed
    ) -> Next | None:
        owed: Next | None = None if task.callback.is_asked else Finished()  # None: the row says what
        match settled:
            case Succeeded():
                log.info("task succeeded")
                self._attempts.announce(ended)
                return owed
            case Failed(failure):
                log.error(
                    "task failed",
                    error_type=failure.error_type,
                    cause=failure.cause,
                    error=failure.message,
                    exception=failure.traceback or None,
                )
                self._alerts.task_failed(task, failure)
                return owed
            case RetryLater(failure, delay_s):
                log.warning(
                    "attempt failed",
                    error_type=failure.error_type,
                    error=failure.message,
                    retry_in_s=delay_s,
                    exception=failure.traceback or None,
                )
                return NotYet(delay_s)
            case Snoozed(delay_s):
                log.info("task snoozed", seconds=delay_s)
                return NotYet(delay_s)
            case HandedBack():
                log.info("attempt handed back")
                return HandBack()
            case Crashed(failure):
                log.error("attempt crashed, it is run again", error=failure.message, crashes=task.crash_count + 1)
                return HandBack()

    def _bury(self, delivery: Delivery, reason: InvalidMessage) -> None:
        clean = self._dead_letters.bury(delivery, reason)
        if clean is None or reason.salvaged is None:
            self._tickets.ack(delivery)
        else:
            task_id = reason.salvaged.task_id
            self._follow(clean, Ticket(task_id), self._claims.look_at_callback(task_id))

    def _when_late(self, delivery: Delivery) -> Callable[[float], None]:
        def publish(wait_s: float) -> None:
            # One try is enough: the ticket parked for the end of the hold is there in any case.
            try:
                self._tickets.publish_once(self._tickets.copy(delivery, delay_s=wait_s))
            except (BrokerUnavailable, PublishRefused) as error:
                log.debug("callback is tried again later than it could be", error=str(error))

        return publish


def _refused(message: TaskMessage | Ticket, refusal: DataRefused) -> InvalidMessage:
    salvaged = message if isinstance(message, TaskMessage) else None
    return InvalidMessage("refused_by_database", f"the database can't hold this task: {refusal}", salvaged)
