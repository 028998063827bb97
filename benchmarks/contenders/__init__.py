"""Who is measured: how each is started, and how its queue is filled."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.processes import ROOT
from benchmarks.site import Site, fill


@dataclass(frozen=True)
class Contender:
    name: str
    #: the program, by queue
    command: Callable[[str], list[str]]
    #: its environment, by site, queue and prefetch
    environment: Callable[[Site, str, int], Mapping[str, str]]
    #: puts so many tasks on a queue
    fill: Callable[[Site, str, int], None]
    #: what share of the tasks it gets, so that a round of each takes about as long
    share: float = 1.0


def worker_command(handler: str) -> list[str]:
    """This project's worker, as its users start it."""
    return [sys.executable, "-m", "grid_async_task.cli", "worker", "--handler", f"benchmarks.contenders.{handler}"]


def worker_environment(site: Site, queue: str, prefetch: int = 1, **settings: object) -> dict[str, str]:
    """Logging is at WARNING, as it is for the others."""
    values = {
        "amqp_url": site.amqp_url,
        "mysql_url": site.mysql_url,
        "queue": queue,
        "prefetch_count": prefetch,
        "log_level": "WARNING",
        "log_dir": site.folder / "logs",
        **settings,
    }
    return {f"GRID_ASYNC_TASK_{name.upper()}": str(value) for name, value in values.items()}


def plain_environment(site: Site, queue: str, prefetch: int = 1) -> dict[str, str]:
    return {
        "BENCH_AMQP_URL": site.amqp_url,
        "BENCH_MYSQL_URL": site.mysql_url,
        "BENCH_QUEUE": queue,
        "BENCH_PREFETCH": str(prefetch),
        "dramatiq_queue_prefetch": str(prefetch),
    }


def _fill(site: Site, queue: str, tasks: int) -> None:
    fill(site.amqp_url, queue, tasks)


def _fill_by(module: str) -> Callable[[Site, str, int], None]:
    """In the framework's own words, by a process of its own."""

    def fill_by_module(site: Site, queue: str, tasks: int) -> None:
        environment = {**os.environ, **plain_environment(site, queue), "PYTHONPATH": str(ROOT), "BENCH_TASKS": "1-1"}
        environment["BENCH_REPORT"] = os.devnull
        subprocess.run([sys.executable, "-m", module, str(tasks)], env=environment, cwd=site.folder, check=True)

    return fill_by_module


WORKER = Contender("worker", lambda _: worker_command("handlers:Ticking"), worker_environment, _fill)
RAW_LOOP = Contender(
    "raw loop", lambda _: [sys.executable, "-m", "benchmarks.contenders.raw_loop"], plain_environment, _fill
)
CELERY = Contender(
    "Celery",
    lambda queue: [
        *(sys.executable, "-m", "celery", "-A", "benchmarks.contenders.celery_app", "worker", "--queues", queue),
        *("--concurrency", "1", "--loglevel", "WARNING", "--without-gossip", "--without-mingle"),
    ],
    plain_environment,
    _fill_by("benchmarks.contenders.celery_app"),
    share=0.25,
)
DRAMATIQ = Contender(
    "Dramatiq",
    lambda queue: [
        *(sys.executable, "-m", "dramatiq", "benchmarks.contenders.dramatiq_app", "--queues", queue),
        *("--processes", "1", "--threads", "1"),
    ],
    plain_environment,
    _fill_by("benchmarks.contenders.dramatiq_app"),
)
