"""Tasks of all kinds, sent at random moments, and an operator who now and then cancels or revives one."""

from __future__ import annotations

import contextlib
import json
import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pika
import pika.exceptions

from grid_async_task import TaskClient, TaskProducer
from grid_async_task.adapters.rabbitmq.parameters import quiet_pika
from grid_async_task.domain.errors import GridAsyncTaskError
from tests.bad_bodies import BAD_BODIES
from tests.campaign.chores import ERROR_TYPES
from tests.campaign.journal import CANCEL, OPERATORS_RETRY, Journal

#: what kind of task, how often, and from which range its number is (seconds, steps, or attempts that fail)
KINDS: dict[str, tuple[int, tuple[float, float]]] = {
    "fast": (30, (0, 0)),
    "slow": (14, (0.2, 1.5)),
    "long": (2, (4, 9)),
    "stepwise": (6, (2, 12)),
    "retrying": (8, (1, 3)),
    "asking": (5, (1, 2)),
    "snoozing": (7, (1, 2)),
    "failing": (5, (0, 0)),
    "discarding": (3, (0, 0)),
}
#: what else happens between two tasks, how often in a hundred
DUPLICATES, BAD_MESSAGES, CANCELS, OPERATORS_RETRIES = 12, 6, 3, 3


@dataclass
class Sent:
    """What the broker has confirmed."""

    #: the body of each task, by id
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: messages that are no task
    bad: set[bytes] = field(default_factory=set)
    #: tasks of which a bad message came first, by id
    invalid: set[str] = field(default_factory=set)
    duplicates: int = 0


class Load:
    """Sends until it is stopped. Whatever is not confirmed is sent again, as any producer would."""

    def __init__(
        self,
        settings: Any,
        rng: random.Random,
        journal: Journal,
        *,
        callback_url: str,
        reply_queue: str,
        tasks_per_s: float,
        with_operators_retries: bool,
        kinds: Mapping[str, int],
        without_callback: int,
    ) -> None:
        self.sent = Sent()
        self._queue: str = settings.queue
        self._amqp = pika.URLParameters(settings.amqp_url)
        self._rng = rng
        self._journal = journal
        self._callback_url = callback_url
        self._reply_queue = reply_queue
        self._tasks_per_s = tasks_per_s
        self._kinds = kinds
        self._without_callback = without_callback
        self._retries = OPERATORS_RETRIES if with_operators_retries else 0
        self._producer = TaskProducer(settings=settings)
        self._client = TaskClient(settings=settings)
        self._channel: Any = None
        quiet_pika()  # while the broker is away it says so at every try
        self._stopping = threading.Event()
        self._giving_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load")
        self.error: BaseException | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """What was begun is still sent: the servers have to be there."""
        self._stopping.set()
        self._thread.join()
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        """After `stop`, or instead of it where the campaign is broken off."""
        self._stopping.set()
        self._giving_up.set()
        self._thread.join()
        self._producer.close()
        self._client.close()
        self._disconnect()

    def _run(self) -> None:
        try:
            while not self._stopping.wait(self._rng.expovariate(self._tasks_per_s)):
                self._send_task()
                for chance, act in (
                    (DUPLICATES, self._send_duplicate),
                    (BAD_MESSAGES, self._send_bad_message),
                    (CANCELS, self._cancel),
                    (self._retries, self._revive),
                ):
                    if self._rng.randrange(100) < chance:
                        act()
        except BaseException as error:
            self.error = error

    # -- what is sent -------------------------------------------------------------------------

    def _send_task(self) -> None:
        kind = self._rng.choices(list(self._kinds), list(self._kinds.values()))[0]
        low, high = KINDS[kind][1]
        number = self._rng.uniform(low, high) if kind in ("slow", "long") else self._rng.randint(int(low), int(high))
        task_id = f"{kind}-{len(self.sent.tasks)}"
        body = {
            "task_type": kind,
            "data": {"kind": "slow" if kind == "long" else kind, "number": number},
            "max_retry_count": 1 if kind in ERROR_TYPES else 20,
            **self._callback(),
        }
        by_producer = self._rng.random() < 0.5
        # noted first: a worker is faster than a confirm; it is sent until the confirm has come
        self.sent.tasks[task_id] = body
        if by_producer:
            self._until_done(lambda: self._producer.send_task(body, task_id))
        else:
            self._publish(json.dumps({"task_id": task_id, **body}).encode())

    def _callback(self) -> dict[str, Any]:
        if self._rng.randrange(100) < self._without_callback:
            return {}
        return self._rng.choice([self._http_callback(), self._http_callback(), self._reply()])

    def _http_callback(self) -> dict[str, Any]:
        return {"callback_url": self._callback_url, "callback_data": {"from": "campaign"}}

    def _reply(self) -> dict[str, Any]:
        return {"callback_type": "rabbitmq", "callback_data": {"queue_name": self._reply_queue}}

    def _send_duplicate(self) -> None:
        task_id = self._any_task()
        self.sent.duplicates += 1
        self._publish(json.dumps({"task_id": task_id, **self.sent.tasks[task_id]}).encode())

    def _send_bad_message(self) -> None:
        number = len(self.sent.bad)
        match self._rng.randrange(3):
            case 0:  # no id: a dead letter is all there is
                body = self._rng.choice([bad.body for bad in BAD_BODIES.values() if not bad.has_usable_id])
                body = body[:5000] + b" %d" % number if body else b"%d" % number
            case 1:  # an id of its own
                self.sent.invalid.add(f"invalid-{number}")
                body = json.dumps({"task_id": f"invalid-{number}", "data": "text", **self._http_callback()}).encode()
            case _:  # over a row that exists
                task_id = self._any_task()
                if self._row_of(task_id) is None:
                    return
                body = json.dumps({"task_id": task_id, "data": number}).encode()
        self.sent.bad.add(body)
        self._publish(body)

    # -- the operator -------------------------------------------------------------------------

    def _cancel(self) -> None:
        self._operate(CANCEL, self._any_task(), self._client.cancel_task)

    def _revive(self) -> None:
        failed = [task_id for task_id, body in self.sent.tasks.items() if body["task_type"] in ERROR_TYPES]
        if failed:
            self._operate(OPERATORS_RETRY, self._rng.choice(failed), self._client.retry_task)

    def _operate(self, deed: str, task_id: str, command: Any) -> None:
        began = time.monotonic()
        try:
            if not command(task_id):
                return
        except GridAsyncTaskError:
            pass  # whether it was done is not known
        self._journal.write(deed, began=began, task=task_id)

    def _row_of(self, task_id: str) -> Any:
        try:
            return self._client.get_task(task_id)
        except GridAsyncTaskError:
            return None

    def _any_task(self) -> str:
        """Rather one of the newest: those are still under way."""
        ids = list(self.sent.tasks)
        return self._rng.choice(ids[-20:])

    # -- until it is confirmed ----------------------------------------------------------------

    def _publish(self, body: bytes) -> None:
        self._until_done(lambda: self._publish_once(body))

    def _publish_once(self, body: bytes) -> None:
        if self._channel is None:
            self._channel = pika.BlockingConnection(self._amqp).channel()
            self._channel.confirm_delivery()
        # no content type, no message id: as clients in other languages send it
        self._channel.basic_publish("", self._queue, body, pika.BasicProperties(delivery_mode=2), mandatory=True)

    def _until_done(self, send: Any) -> None:
        while True:
            try:
                send()
                return
            # ValueError: pika's answer to a broker that ends in the very moment of the connection
            except (pika.exceptions.AMQPError, GridAsyncTaskError, OSError, ValueError):
                self._disconnect()
                if self._giving_up.wait(0.2):
                    raise

    def _disconnect(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None and channel.connection.is_open:
            with contextlib.suppress(pika.exceptions.AMQPError, OSError):
                channel.connection.close()
