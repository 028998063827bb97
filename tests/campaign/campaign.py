"""One campaign from its first message to its verdict."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pika
from sqlalchemy import make_url

from grid_async_task import Settings
from grid_async_task.adapters.rabbitmq.definitions import definitions
from tests.campaign.chores import PAUSE_S, Diary
from tests.campaign.herd import LEASE_S, Herd
from tests.campaign.journal import Journal
from tests.campaign.load import KINDS, Load
from tests.campaign.monkey import Monkey, Site
from tests.campaign.observer import Observer
from tests.campaign.receiver import Receipts, receiver_of
from tests.campaign.verdict import Evidence
from tests.servers.mariadb import OwnMariaDb
from tests.servers.rabbitmq import RabbitServer, new_queue_name
from tests.servers.tcp_proxy import TcpProxy
from tests.waiting import eventually

#: seconds in which all that was sent must have come to its end, once nobody does harm any more; a callback whose
#: sender was killed is left alone for a minute before it is sent again
QUIET_WITHIN_S = 600.0
#: looks in a row at which nothing may be left to do
QUIET_LOOKS = 4

WORKER_SETTINGS = {
    "lease_seconds": LEASE_S,
    "retry_delay": PAUSE_S,
    "shutdown_grace": 2,
    "progress_interval": 1,
    "callback_timeout": 3,
}


@dataclass(frozen=True)
class Plan:
    seconds: float
    workers: int
    #: tasks that are sent before the monkey begins
    head_start: int
    tasks_per_s: float
    #: the monkey's deeds, see there: those that are done first, in this order
    opening: tuple[str, ...]
    #: and those that are done in rounds, each once, in an order of chance
    deck: tuple[str, ...]
    #: seconds between two deeds
    gap_s: tuple[float, float]
    #: also what leaves a ticket behind that nobody needs, and that comes much later: operator's retries (30 s), and
    #: receivers of callbacks that are slow (a minute)
    with_late_tickets: bool
    #: of the workers, by chance
    prefetch: tuple[int, ...] = (1, 1, 1, 4)
    #: kinds of tasks and how often they come; None: all kinds
    kinds: Mapping[str, int] | None = None
    #: how many tasks in a hundred ask for no callback
    without_callback: int = 25


@dataclass
class Report:
    seed: int
    seconds: float
    #: of them, after the last deed
    seconds_to_quiet: float
    evidence: Evidence
    #: processes that were started
    workers: int

    @property
    def broken(self) -> str:
        """The promises that were not kept, with their first cases; empty where all were."""
        return "\n\n".join(
            f"{kind}: {len(cases)}\n  " + "\n  ".join(cases[:5])
            for kind, cases in self.evidence.judge().items()
            if cases
        )

    def __str__(self) -> str:
        evidence = self.evidence
        executions = [each for runs in evidence.diary.executions.values() for each in runs]
        facts: dict[str, object] = {
            "seed": self.seed,
            "seconds": round(self.seconds),
            "of them, to come to rest at the end": round(self.seconds_to_quiet),
            "worker processes": self.workers,
            "tasks": len(evidence.sent.tasks),
            "duplicates of messages": evidence.sent.duplicates,
            "bad messages": len(evidence.sent.bad),
            "executions": len(executions),
            "executions cut off": sum(each.how in (None, "TaskInterrupted") for each in executions),
            **dict(sorted(evidence.journal.counts().items())),
            **{f"ended as {end}": n for end, n in sorted(self._ends().items())},
            "callbacks taken": len(evidence.receipts.taken),
            "callbacks refused by their receiver": sum(evidence.receipts.refused.values()),
            "repeated callbacks (same id, same body)": sum(len(b) - 1 for b in evidence.receipts.repeated.values()),
            "repeated dead letters": len(evidence.dead) - len(set(evidence.dead)),
            "looks at the table": evidence.observer.looks,
            **{kind: len(cases) for kind, cases in evidence.judge().items()},
        }
        return "\n".join(f"{name:<42}{value:>12}" for name, value in facts.items())

    def _ends(self) -> Counter[str]:
        return Counter(row.error_type or row.status for row in self.evidence.observer.rows.values())


def seed_of_the_day() -> int:
    """The one that is asked for, else one that has never been used."""
    return int(os.environ.get("GRID_CAMPAIGN_SEED") or random.SystemRandom().randrange(1_000_000))


def run_campaign(plan: Plan, seed: int, directory: Path, rabbitmq: RabbitServer, mariadb: OwnMariaDb) -> Report:
    """Raises AssertionError where what was sent does not come to an end. The same seed does the same deeds."""
    began = time.monotonic()
    journal = Journal()
    receipts = Receipts(random.Random(f"receiver {seed}"), slow_share=0.02 if plan.with_late_tickets else 0.0)
    with contextlib.ExitStack() as stack:
        amqp_url, mysql_url = _virtual_host(rabbitmq), mariadb.url(mariadb.new_database())
        way_to_broker = stack.enter_context(TcpProxy("127.0.0.1", make_url(amqp_url).port or 0))
        way_to_database = stack.enter_context(TcpProxy("127.0.0.1", make_url(mysql_url).port or 0))
        receiver = stack.enter_context(receiver_of(receipts))
        queue = new_queue_name()
        reply_queue = f"{queue}.replies"
        _declare(amqp_url, queue, f"{queue}.dead", reply_queue)
        settings = {
            **WORKER_SETTINGS,
            "queue": queue,
            # a broker gives a paused worker's message to another after two heartbeats that did not come
            "amqp_url": _by_way_of(way_to_broker, amqp_url) + "?heartbeat=2",
            "mysql_url": _by_way_of(way_to_database, mysql_url),
        }
        herd = Herd(directory, settings, plan.workers, plan.prefetch, random.Random(f"herd {seed}"), journal)
        stack.callback(herd.remove)
        observer = Observer(lambda: mariadb.connect(make_url(mysql_url).database), "grid_async_task_tasks")
        load = Load(
            Settings(amqp_url=amqp_url, mysql_url=mysql_url, queue=queue),
            random.Random(f"load {seed}"),
            journal,
            callback_url=receiver.url,
            reply_queue=reply_queue,
            tasks_per_s=plan.tasks_per_s,
            with_operators_retries=plan.with_late_tickets,
            kinds=plan.kinds or {kind: weight for kind, (weight, _) in KINDS.items()},
            without_callback=plan.without_callback,
        )
        site = Site(herd, rabbitmq, mariadb, way_to_broker, way_to_database)
        monkey = Monkey(site, journal, random.Random(f"monkey {seed}"), plan.gap_s)
        herd.look_after()
        for part in (load, observer):
            part.start()
            stack.callback(part.close)
        eventually(lambda: len(load.sent.tasks) > plan.head_start, 60.0, "the first tasks are sent")
        eventually(lambda: (directory / "diary").read_text(), 60.0, "one of them is begun")
        rabbitmq.sync_delay_ladder()
        monkey.play(plan.opening, plan.deck, until=began + plan.seconds)
        monkey.put_all_right()
        load.stop()
        last_deed = time.monotonic()
        _wait_until_quiet(observer, load, herd, amqp_url, queue)
        quiet = time.monotonic()
        herd.stop()
        for _ in range(3):
            if not _late_tickets(rabbitmq, amqp_url, queue):
                break
            # one that a worker held on to while the broker was away, or that the broker will send on a second time:
            # it lost its own confirm in the restart, and counts the message although nobody sees it
            herd.gather(plan.workers)
            eventually(lambda: not _late_tickets(rabbitmq, amqp_url, queue), 60.0, "the last ticket is served")
            herd.stop()
        observer.look()
        dead = _fetch_all(amqp_url, f"{queue}.dead")
        receipts.drain(amqp_url, reply_queue)
        left = _messages(rabbitmq, amqp_url)
    evidence = Evidence(
        load.sent, Diary.read(directory / "diary"), journal, observer, receipts, dead, left, herd.strange_ends
    )
    return Report(seed, time.monotonic() - began, quiet - last_deed, evidence, herd.started)


def _virtual_host(rabbitmq: RabbitServer) -> str:
    """One of our own: the delay queues of another may hold what others have left there."""
    name = new_queue_name()
    rabbitmq.run("add_vhost", name)
    rabbitmq.run("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
    return f"{rabbitmq.url}{name}"


def _by_way_of(proxy: TcpProxy, url: str) -> str:
    return make_url(url).set(port=proxy.port).render_as_string(hide_password=False)


def _declare(amqp_url: str, *queues: str) -> None:
    with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
        for queue in queues:
            connection.channel().queue_declare(queue, durable=True)


def _wait_until_quiet(observer: Observer, load: Load, herd: Herd, amqp_url: str, queue: str) -> None:
    deadline = time.monotonic() + QUIET_WITHIN_S
    quiet_looks = 0
    while quiet_looks < QUIET_LOOKS:
        herd.look_after()
        open_tasks = [task for task in (*load.sent.tasks, *load.sent.invalid) if _is_open(observer, task)]
        tickets = _tickets(amqp_url, queue)
        quiet_looks = quiet_looks + 1 if not open_tasks and not tickets else 0
        if time.monotonic() > deadline:
            raise AssertionError(
                f"not quiet after {QUIET_WITHIN_S} s: {tickets}, "
                f"{[observer.rows.get(task, task) for task in open_tasks]}"
            )
        time.sleep(0.25)


def _late_tickets(rabbitmq: RabbitServer, amqp_url: str, queue: str) -> dict[str, int]:
    """The same, with those that the broker itself has in hand."""
    tickets = _messages(rabbitmq, amqp_url)
    return {name: n for name, n in tickets.items() if n and (name == queue or name.startswith("grid_async_task."))}


def _tickets(amqp_url: str, queue: str) -> dict[str, int]:
    """Messages on the work queue and in the delay queues."""
    names = [queue, *(declared["name"] for declared in definitions(amqp_url, [], None)["queues"])]
    with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
        channel = connection.channel()
        counts = {name: channel.queue_declare(name, passive=True).method.message_count for name in names}
    return {name: count for name, count in counts.items() if count}


def _is_open(observer: Observer, task: str) -> bool:
    row = observer.rows.get(task)
    return row is None or not row.is_final or row.is_due


def _fetch_all(amqp_url: str, queue: str) -> list[bytes]:
    bodies: list[bytes] = []
    with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
        channel = connection.channel()
        while (got := channel.basic_get(queue, auto_ack=True))[0] is not None:
            bodies.append(got[2])
    return bodies


def _messages(rabbitmq: RabbitServer, amqp_url: str) -> dict[str, int]:
    virtual_host = pika.URLParameters(amqp_url).virtual_host
    listing = rabbitmq.run("list_queues", "-p", virtual_host, "--silent", "--no-table-headers", "name", "messages")
    return {name: int(count) for name, count in (line.split("\t") for line in listing.splitlines() if line)}
