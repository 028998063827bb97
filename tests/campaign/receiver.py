"""Where the callbacks of a campaign arrive: a web server with bad moments, and a reply queue."""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from collections.abc import Mapping

import pika

from tests.servers.http_receiver import HANG_UP, Answer, HttpReceiver, Request

#: failed answers to one callback at most: with three, a single one more would use its tries up
MOST_FAILURES = 2
#: seconds; a worker waits for one
SLOW_S = 1.3


class Receipts:
    """All deliveries, by callback id."""

    def __init__(self, rng: random.Random, slow_share: float) -> None:
        """`slow_share` of the answers take so long that the worker goes on without them."""
        self._rng = rng
        self._slow_share = slow_share
        self._lock = threading.Lock()
        #: bodies that were taken, by id
        self.taken: dict[str, list[bytes]] = defaultdict(list)
        self.refused: dict[str, int] = defaultdict(int)

    def answer(self, request: Request) -> Answer:
        callback_id = request.headers["webhook-id"]
        with self._lock:
            if self.refused[callback_id] < MOST_FAILURES and self._rng.random() < 0.15:
                self.refused[callback_id] += 1
                return self._rng.choice([Answer(503), Answer(500), HANG_UP])
            self.taken[callback_id].append(request.body)
            return Answer(200, delay_s=SLOW_S if self._rng.random() < self._slow_share else 0.0)

    def drain(self, amqp_url: str, reply_queue: str) -> None:
        """Fetch what has come by the broker."""
        with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
            channel = connection.channel()
            while True:
                _, properties, body = channel.basic_get(reply_queue, auto_ack=True)
                if properties is None or body is None:
                    return
                self.taken[str(properties.message_id)].append(body)

    @property
    def repeated(self) -> Mapping[str, list[bytes]]:
        return {callback_id: bodies for callback_id, bodies in self.taken.items() if len(bodies) > 1}


def receiver_of(receipts: Receipts) -> HttpReceiver:
    receiver = HttpReceiver()
    receiver.answer_by(receipts.answer)
    return receiver
