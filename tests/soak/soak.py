"""Sends the tasks, a few hundred at a time, and reads what the measuring ones among them have found."""

from __future__ import annotations

import itertools
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pika

from grid_async_task import Settings, TaskProducer
from tests.servers.http_receiver import Answer, HttpReceiver
from tests.worker_site import Site, open_site

#: out of twenty tasks
KINDS = {
    "plain": 7,
    "telling": 3,
    "saving": 2,
    "calling": 3,
    "replying": 1,
    "retrying": 1,
    "snoozing": 1,
    "failing": 1,
    "discarding": 1,
}
FAILING = {"failing", "discarding"}
#: messages on the queue; not all at once, since a retry would wait behind them
BACKLOG, BATCH = 100, 200
#: the share of the samples in which caches fill up
WARM_UP = 0.15


@dataclass(frozen=True)
class Sample:
    tasks: int
    rss_kb: int
    objects: int
    threads: int
    files: int


@dataclass(frozen=True)
class Soak:
    samples: list[Sample]
    tasks_per_s: float
    callbacks: int

    def __str__(self) -> str:
        names = [field.name for field in fields(Sample)]
        lines = ["".join(f"{name:>10}" for name in names)]
        lines += ["".join(f"{getattr(sample, name):>10}" for name in names) for sample in self.samples]
        return "\n".join([*lines, f"{self.tasks_per_s:.0f} tasks a second, {self.callbacks} callbacks"])

    def growth(self, name: str) -> float:
        return growth([getattr(sample, name) for sample in self.samples])

    def steady_growth(self, name: str) -> float:
        return steady_growth([getattr(sample, name) for sample in self.samples])


def growth(values: Sequence[float]) -> float:
    """From the median of the first third after the warm-up to the median of the last third."""
    warm = values[round(len(values) * WARM_UP) :]
    third = len(warm) // 3
    return statistics.median(warm[-third:]) - statistics.median(warm[:third])


def steady_growth(values: Sequence[float]) -> float:
    """The usual step from one sample to the next: what is imported or cached once, however late, does not count."""
    return statistics.median(after - before for before, after in itertools.pairwise(values))


def run_soak(
    directory: Path, amqp_url: str, mysql_url: str, *, tasks: int, sample_every: int, handler: str, timeout_s: float
) -> Soak:
    """Raises AssertionError where tasks do not end as they should, or callbacks are missing."""
    rng = random.Random(1)
    deadline = time.monotonic() + timeout_s
    with open_site(directory, amqp_url, mysql_url) as site, HttpReceiver() as receiver:
        receiver.answer_by(lambda request: Answer(503 if rng.random() < 0.03 else 200))
        kinds = [_kind(number, sample_every, rng) for number in range(tasks)]
        worker = site.worker(handler, retry_delay=1, progress_interval=1, lease_seconds=30)
        began = time.monotonic()
        _feed(site, [_task(site, receiver, number, kind) for number, kind in enumerate(kinds)], deadline)

        failing = sum(kind in FAILING for kind in kinds)
        ends = {"success": tasks - failing, "failed": failing}
        _wait_until(lambda: ends.items() <= site.client.count_by_status().items(), deadline, "all tasks are final")
        _wait_until(lambda: len(_called(receiver)) == kinds.count("calling"), deadline, "all callbacks have come")
        replies = _drained(site)
        assert len(replies) == kinds.count("replying")
        took_s = time.monotonic() - began
        worker.terminate()
        assert worker.ended() == 0
        samples = [
            Sample(number + 1, **_result(site, number)) for number in range(tasks) if kinds[number] == "measuring"
        ]
    return Soak(samples, tasks / took_s, len(receiver.requests) + len(replies))


def _feed(site: Site, messages: list[dict[str, Any]], deadline: float) -> None:
    queue = site.settings["queue"]
    with (
        TaskProducer(settings=Settings(**site.settings), record_pending=False) as producer,
        pika.BlockingConnection(pika.URLParameters(site.settings["amqp_url"])) as connection,
    ):
        channel = connection.channel()
        channel.queue_declare(queue, durable=True)
        for first in range(0, len(messages), BATCH):
            while channel.queue_declare(queue, passive=True).method.message_count >= BACKLOG:
                assert time.monotonic() < deadline, "the backlog is not worked off in time"
                connection.sleep(0.1)
            producer.batch_send_tasks([{"task_data": message} for message in messages[first : first + BATCH]])


def _kind(number: int, sample_every: int, rng: random.Random) -> str:
    if (number + 1) % sample_every == 0:
        return "measuring"
    return rng.choices(list(KINDS), list(KINDS.values()))[0]


def _task(site: Site, receiver: HttpReceiver, number: int, kind: str) -> dict[str, Any]:
    callback: dict[str, Any] = {}
    if kind == "calling":
        callback = {"callback_url": receiver.url}
    elif kind == "replying":
        callback = {"callback_type": "rabbitmq", "callback_data": {"queue_name": _replies_of(site)}}
    retries = 1 if kind == "retrying" else 0
    return {"task_id": f"t-{number}", "data": {"kind": kind, "number": number}, "max_retry_count": retries, **callback}


def _result(site: Site, number: int) -> dict[str, Any]:
    task = site.client.get_task(f"t-{number}")
    assert task is not None
    assert task.result is not None
    return task.result


def _wait_until(look: Callable[[], bool], deadline: float, what: str) -> None:
    while not look():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.3)


def _called(receiver: HttpReceiver) -> set[str]:
    return {request.headers["webhook-id"] for request in receiver.requests}


def _drained(site: Site) -> set[str]:
    """The ids of what has come to the reply queue."""
    ids: set[str] = set()
    with pika.BlockingConnection(pika.URLParameters(site.settings["amqp_url"])) as connection:
        channel = connection.channel()
        queue = _replies_of(site)
        channel.queue_declare(queue, durable=True)
        while (got := channel.basic_get(queue, auto_ack=True))[0] is not None:
            ids.add(str(got[1].message_id))
    return ids


def _replies_of(site: Site) -> str:
    return f"{site.settings['queue']}.replies"
