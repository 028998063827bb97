"""Where each part ends, by arithmetic: what a worker asks of it, and what it can give."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.scale.model import Load, Site
from benchmarks.scale.service_times import ServiceTimes
from grid_async_task.application.lease_times import RENEW_AFTER_SHARE
from grid_async_task.application.sweep import EVERY_S

#: above this utilisation, waiting grows steeply
PLANNED = 0.7
#: MySQL's default; MariaDB's too
MAX_CONNECTIONS = 151
#: to the database: one a worker, a second while a heartbeat and something else meet
CONNECTIONS_A_WORKER = 2


@dataclass(frozen=True)
class Limits:
    """The number of workers at which a part is used to 70 %, and the tasks a second that it can do at most."""

    database_workers: float
    queue_workers: float
    database_tasks_per_s: float
    queue_tasks_per_s: float

    @property
    def first(self) -> str:
        return "database" if self.database_workers < self.queue_workers else "queue"


def limits(times: ServiceTimes, site: Site, load: Load) -> Limits:
    cpu = times.database
    others = load.together - 1
    task_cpu_s = (
        cpu.claim_cpu_s + cpu.outcome_cpu_s + others * (cpu.claim_row_cpu_s + cpu.outcome_row_cpu_s)
    ) / load.together
    commit_s = 2 * (site.round_trip_s + site.flush_s) / load.together
    cycle_s = load.task_s + times.worker.task_cpu_s + task_cpu_s + commit_s
    renew_every_s = load.lease_s * RENEW_AFTER_SHARE
    heartbeats_per_s = 1 / renew_every_s if load.task_s > renew_every_s else 0.0
    housekeeping = heartbeats_per_s * cpu.renew_cpu_s + cpu.election_cpu_s / EVERY_S
    message_s = times.queue(site.queue_type).both_s
    return Limits(
        database_workers=PLANNED * site.database_cores / (task_cpu_s / cycle_s + housekeeping),
        queue_workers=PLANNED * site.queues / (message_s / cycle_s),
        database_tasks_per_s=site.database_cores / task_cpu_s,
        queue_tasks_per_s=site.queues / message_s,
    )
