"""Looking at the broker before workers depend on it: as much as AMQP tells without an administrator's login."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import pika
from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection
from pika.exceptions import AMQPError, ChannelClosedByBroker

from grid_async_task.adapters.rabbitmq.delay_ladder import DUE_EXCHANGE, RUNGS, rung_name
from grid_async_task.adapters.rabbitmq.error_text import text_of
from grid_async_task.adapters.rabbitmq.queue_arguments import arguments_of
from grid_async_task.adapters.rabbitmq.refusal import is_refusal
from grid_async_task.adapters.rabbitmq.rights import may_configure, may_read, may_write
from grid_async_task.adapters.rabbitmq.topology import NOT_FOUND
from grid_async_task.domain.errors import ConfigurationError
from grid_async_task.ports.errors import BrokerUnavailable
from grid_async_task.ports.inspector import Finding, Inspector, Level, Missing

T = TypeVar("T")

#: seconds for the connection, and for each answer
PATIENCE_S = 5.0
#: from here on a quorum queue hands an expired message on without losing it
OLDEST_SAFE_DELAYS = (3, 10)

MIGRATE = "run: grid-async-task migrate"
SUBJECT = "broker"
DELAYS = "the delay queues (grid_async_task.*)"


class RabbitInspector(Inspector):
    """Connects once, with the login of the settings. Declares only what exists, to learn what it is like."""

    def __init__(self, url: str, queue: str, dead_queue: str) -> None:
        self._parameters = pika.URLParameters(url)
        self._parameters.socket_timeout = PATIENCE_S
        self._parameters.stack_timeout = 2 * PATIENCE_S
        self._parameters.blocked_connection_timeout = PATIENCE_S
        self._parameters.connection_attempts = 1
        self._queue = queue
        self._dead_queue = dead_queue

    def inspect(self) -> list[Finding]:
        # what it has to say is said here
        logging.getLogger("pika").setLevel(logging.CRITICAL)
        findings: list[Finding] = []
        try:
            with _connected(self._parameters) as connection:
                findings.append(Finding(Level.OK, SUBJECT, f"reachable: {self._where}"))
                findings.extend(_version(connection))
                findings.extend(self._queues(connection))
                findings.extend(_ladder(connection))
                findings.extend(self._rights(connection))
        except (AMQPError, OSError) as error:
            findings.append(self._trouble(error))
        return findings

    def missing(self) -> list[Missing]:
        logging.getLogger("pika").setLevel(logging.CRITICAL)
        try:
            with _connected(self._parameters) as connection:
                queues = [queue for queue in (self._queue, self._dead_queue) if _is_missing(connection, queue)]
                delays = [] if _has_ladder(connection) else [Missing("queues and exchanges", DELAYS)]
                return [*delays, *(Missing("queue", queue) for queue in queues)]
        except (AMQPError, OSError) as error:
            trouble = self._trouble(error)
            kind = ConfigurationError if is_refusal(error) else BrokerUnavailable
            raise kind(f"{trouble.text}; {trouble.advice}") from error

    @property
    def _where(self) -> str:
        return f"{self._parameters.host}:{self._parameters.port}, virtual host {self._parameters.virtual_host}"

    def _trouble(self, error: Exception) -> Finding:
        user = getattr(self._parameters.credentials, "username", "?")
        if is_refusal(error):
            text = f"{self._where} refuses the user {user!r}: {text_of(error)}"
            advice = "check user, password and virtual host of AMQP_URL, and: rabbitmqctl list_permissions"
        else:
            text = f"{self._where} is not reachable: {text_of(error)}"
            advice = "start the broker, or mend host and port in AMQP_URL; a firewall may be in the way"
        return Finding(Level.ERROR, SUBJECT, text, advice)

    # -- queues -----------------------------------------------------------------------------------

    def _queues(self, connection: BlockingConnection) -> Iterator[Finding]:
        work = _passive(connection, self._queue)
        if isinstance(work, ChannelClosedByBroker):
            missing = work.reply_code == NOT_FOUND
            said = "does not exist: what is sent to it is lost, and KEDA fails" if missing else f"can't be read: {work}"
            yield Finding(Level.ERROR, "queue", f"{self._queue} {said}", MIGRATE if missing else "grant the user read")
            return
        ready, consumers = work
        yield Finding(Level.OK, "queue", f"{self._queue} exists ({ready} ready, {consumers} consumers)")
        if arguments := arguments_of(connection, self._queue):
            kind = arguments.get("x-queue-type", "classic")
            yield Finding(Level.OK, "queue", f"{self._queue} is a {kind} queue; an existing queue is taken as it is")
            yield from _judged(self._queue, arguments)
            yield _priorities(self._queue, arguments)
        dead = _passive(connection, self._dead_queue)
        if isinstance(dead, ChannelClosedByBroker):
            yield Finding(Level.WARNING, "queue", f"{self._dead_queue} does not exist yet", MIGRATE)
        elif dead[0]:
            advice = "see: grid-async-task dead list"
            yield Finding(Level.WARNING, "queue", f"{self._dead_queue} holds {dead[0]} dead letters", advice)

    # -- rights -----------------------------------------------------------------------------------

    def _rights(self, connection: BlockingConnection) -> Iterator[Finding]:
        """Those for what exists: what does not has been said to be missing."""
        queues = [queue for queue in (self._queue, self._dead_queue) if not _is_missing(connection, queue)]
        exchanges = ["", DUE_EXCHANGE, *map(rung_name, range(RUNGS))] if _has_ladder(connection) else [""]
        lacking = [f"read {queue}" for queue in queues if not may_read(connection, queue)]
        closed = [exchange for exchange in exchanges if not may_write(connection, exchange)]
        lacking += [f"write to {exchange or 'the default exchange'}" for exchange in closed]
        user = getattr(self._parameters.credentials, "username", "?")
        host = self._parameters.virtual_host
        if lacking:
            text = f"the user {user!r} may not {', '.join(lacking)}"
            advice = f"let an administrator run: rabbitmqctl set_permissions -p {host} {user} '.*' '.*' '.*'"
            yield Finding(Level.ERROR, "rights", text, advice)
        else:
            yield Finding(Level.OK, "rights", f"the user {user!r} may read and write what there is")
        if queues and not may_configure(connection, queues[0]):
            text = f"the user {user!r} may not make queues; those that exist can be used"
            yield Finding(Level.OK, "rights", text, "for a new queue, let an administrator import: migrate --print")


def _judged(queue: str, found: Mapping[str, Any]) -> Iterator[Finding]:
    """What the way in which a work queue was declared means for its tasks."""
    anew = f"delete the queue once it is empty, then {MIGRATE}"

    def say(level: Level, what: str) -> Finding:
        return Finding(level, "queue", f"{queue} {what}", anew)

    if found.get("durable") is False:
        yield say(Level.ERROR, "is not durable: a restart of the broker loses it with all its tasks")
    if "x-message-ttl" in found:
        yield say(Level.ERROR, f"has x-message-ttl: tasks that wait for {found['x-message-ttl']} ms vanish")
    if "x-expires" in found:
        yield say(Level.ERROR, f"has x-expires: it vanishes when it has no worker for {found['x-expires']} ms")
    if "x-max-length" in found or "x-max-length-bytes" in found:
        if found.get("x-overflow", "drop-head") == "drop-head":
            yield say(Level.ERROR, "has a limited length: when it is full its oldest tasks vanish")
        else:
            yield say(Level.WARNING, "has a limited length: when it is full it holds up the retries of all queues")
    if found.get("x-single-active-consumer"):
        yield say(Level.WARNING, "has x-single-active-consumer: one worker works, all others wait")


def _priorities(queue: str, found: Mapping[str, Any]) -> Finding:
    if (highest := found.get("x-max-priority")) is not None:
        return Finding(Level.OK, "queue", f"{queue} knows priorities from 0 to {highest}")
    if found.get("x-queue-type") == "quorum":
        text = f"{queue} is a quorum queue: priorities mean little (two classes from RabbitMQ 4.0 on, else none)"
    else:
        text = f"{queue} was declared without x-max-priority: priorities of tasks mean nothing"
    advice = "only if you send tasks with a priority: declare the queue as classic with x-max-priority, 1 to 10"
    return Finding(Level.OK, "queue", text, advice)


def _connected(parameters: pika.URLParameters) -> BlockingConnection:
    try:
        return pika.BlockingConnection(parameters)
    except ValueError as error:  # pika: "Expected connected socket"; the broker hung up in that moment
        raise ConnectionResetError(str(error)) from error


def _version(connection: BlockingConnection) -> Iterator[Finding]:
    # what the server said of itself has no public way out of a blocking connection
    said: dict[str, Any] = connection._impl.server_properties or {}  # type: ignore[attr-defined]
    product, version = str(said.get("product", "?")), str(said.get("version", "?"))
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if product != "RabbitMQ":
        text = f"{product} {version} is not RabbitMQ; its queues may keep other promises"
        yield Finding(Level.WARNING, SUBJECT, text, "use RabbitMQ 3.10 or later")
    elif numbers is None or (int(numbers[1]), int(numbers[2])) < OLDEST_SAFE_DELAYS:
        text = f"RabbitMQ {version}: retries that wait can be lost when the broker is killed"
        yield Finding(Level.WARNING, SUBJECT, text, "use 3.10 or later; until then the sweep finds what was lost")
    else:
        yield Finding(Level.OK, SUBJECT, f"RabbitMQ {version}")


def _ladder(connection: BlockingConnection) -> Iterator[Finding]:
    if not _has_ladder(connection):
        text = f"{DELAYS} do not exist yet; the first worker needs the right to make them"
        yield Finding(Level.WARNING, "delays", text, MIGRATE)
        return
    found = arguments_of(connection, rung_name(0))
    if found is not None and found.get("x-queue-type") != "quorum":
        text = f"{rung_name(0)} is no quorum queue: retries that wait can be lost when the broker is killed"
        yield Finding(Level.WARNING, "delays", text, f"delete the queues grid_async_task.delay.*, then {MIGRATE}")
    else:
        yield Finding(Level.OK, "delays", "the delay queues exist")


def _has_ladder(connection: BlockingConnection) -> bool:
    def exists(channel: BlockingChannel) -> None:
        channel.exchange_declare(DUE_EXCHANGE, passive=True)

    return not isinstance(_ask(connection, exists), ChannelClosedByBroker)


def _is_missing(connection: BlockingConnection, queue: str) -> bool:
    answer = _passive(connection, queue)
    return isinstance(answer, ChannelClosedByBroker) and answer.reply_code == NOT_FOUND


def _passive(connection: BlockingConnection, queue: str) -> tuple[int, int] | ChannelClosedByBroker:
    def look(channel: BlockingChannel) -> tuple[int, int]:
        method = channel.queue_declare(queue, passive=True).method
        return method.message_count, method.consumer_count

    return _ask(connection, look)


def _ask(connection: BlockingConnection, question: Callable[[BlockingChannel], T]) -> T | ChannelClosedByBroker:
    """Each on a channel of its own, since a failing question closes it."""
    channel = connection.channel()
    try:
        return question(channel)
    except ChannelClosedByBroker as closed:
        return closed
    finally:
        if channel.is_open:
            channel.close()
