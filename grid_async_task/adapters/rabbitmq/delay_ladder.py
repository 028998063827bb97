"""The binary delay ladder: delayed messages without timers, plug-ins, or a queue per delay.

A delay of so many seconds is 17 bits. For each bit there is a rung: an exchange and a
queue whose messages expire after 2**n seconds into the next lower exchange. A message's
routing key holds the bits and, at the end, a hash of its queue's name. Each exchange reads
its own bit: 1 sends the message into the rung's queue, 0 straight to the next rung. Under
rung 0 the due exchange finds the queue by the hash.

    rung 16 --0--> rung 15 --0--> ... rung 0 --0--> due exchange --hash--> work queue
       |1             |1                 |1                 |no such queue
     queue 65536 s  queue 32768 s      queue 1 s          unrouted
       +--expired--> rung 15 ...         +--> due exchange

All queues of a virtual host share it. The queues are quorum queues whatever the work queue
is: a classic one loses messages between expiry and the next exchange when the broker is killed.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable

from pika.channel import Channel

RUNGS = 17
#: the longest delay of one climb, in seconds; about 36 hours
MAX_DELAY_S: int = 2**RUNGS - 1

DUE_EXCHANGE = "grid_async_task.due"
#: exchange and queue that keep what came due without finding its queue
UNROUTED = "grid_async_task.unrouted"
#: the header that names the queue a delayed message is for; the hash does not tell
QUEUE_HEADER = "x-grid-queue"


def rung_name(rung: int) -> str:
    """Exchange and queue of the rung that stands for 2**rung seconds."""
    return f"grid_async_task.delay.{rung}"


def whole_seconds(delay_s: float) -> int:
    """What the ladder makes of a delay: rounded up, at least 1, cut to the longest it has."""
    return max(1, math.ceil(min(delay_s, MAX_DELAY_S)))


def entry_exchange(delay_s: float) -> str:
    """The highest rung that has anything to do: entering at the top would cost a publish per empty rung."""
    return rung_name(whole_seconds(delay_s).bit_length() - 1)


def routing_key(delay_s: float, queue: str) -> str:
    """17 bits, the highest first, one word each, and the queue's hash."""
    bits = f"{whole_seconds(delay_s):0{RUNGS}b}"
    return ".".join([*bits, queue_hash(queue)])


def due_binding(queue: str) -> str:
    """The binding by which the due exchange knows the queue."""
    return "*." * RUNGS + queue_hash(queue)


def queue_hash(queue: str) -> str:
    """One word for a name, which may hold dots, wildcards and 255 bytes."""
    return hashlib.sha256(queue.encode("utf-8")).hexdigest()[:32]


def bit_binding(rung: int, bit: int) -> str:
    """The binding that matches keys whose bit of this rung is so."""
    return "*." * (RUNGS - 1 - rung) + f"{bit}.#"


def declare_ladder(channel: Channel, callback: Callable[[object], object]) -> None:
    """Send all declarations; pika asks them one after another. What exists and is equal is left as it is.

    The due exchange comes last: where it exists, the rest does.
    """
    channel.exchange_declare(UNROUTED, exchange_type="fanout", durable=True)
    channel.queue_declare(UNROUTED, durable=True, arguments={"x-queue-type": "quorum"})
    channel.queue_bind(UNROUTED, UNROUTED)
    keep_unrouted = {"alternate-exchange": UNROUTED}
    for rung in range(RUNGS):
        name = rung_name(rung)
        channel.exchange_declare(name, exchange_type="topic", durable=True, arguments=keep_unrouted)
        channel.queue_declare(name, durable=True, arguments=_rung_arguments(rung))
        channel.queue_bind(name, name, bit_binding(rung, 1))
        if rung > 0:
            channel.exchange_bind(rung_name(rung - 1), name, bit_binding(rung, 0))
    channel.exchange_declare(
        DUE_EXCHANGE, exchange_type="topic", durable=True, arguments=keep_unrouted, callback=callback
    )


def bind_to_ladder(channel: Channel, queue: str, callback: Callable[[object], object]) -> None:
    """Let due messages find the queue; 404 where there is no ladder yet."""
    # the ladder's last binding is made here, so that no crash can leave it without
    channel.exchange_bind(DUE_EXCHANGE, rung_name(0), bit_binding(0, 0))
    channel.queue_bind(queue, DUE_EXCHANGE, due_binding(queue), callback=callback)


def _rung_arguments(rung: int) -> dict[str, str | int]:
    return {
        "x-queue-type": "quorum",
        "x-message-ttl": 1000 * 2**rung,
        "x-dead-letter-exchange": rung_name(rung - 1) if rung > 0 else DUE_EXCHANGE,
        # an expired message is kept until the next queue has confirmed it
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",  # at-least-once asks for it
    }
