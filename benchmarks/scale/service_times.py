"""What each step costs, as it was measured: the numbers that go into the model."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("service_times.json")
#: rows of one statement where group commit was measured
MEASURED_TOGETHER = 10


@dataclass(frozen=True)
class DatabaseTimes:
    """Seconds of the server's processor a statement, unless said otherwise."""

    claim_cpu_s: float
    outcome_cpu_s: float
    renew_cpu_s: float
    #: a worker asks whether the sweep is its turn, and it is not
    election_cpu_s: float
    #: the search of a sweep that finds nothing
    sweep_cpu_s: float
    #: each additional row of a statement that claims, or ends, several tasks
    claim_row_cpu_s: float
    outcome_row_cpu_s: float
    #: one task deleted by `prune`
    prune_cpu_s: float
    #: until a commit is on the disk; commits that wait at the same time share it
    flush_s: float
    #: the way to the server and back on this machine: what is neither its time, nor the client's, nor the disk's
    round_trip_s: float
    #: a finished task with little data, with its indexes
    row_bytes: float
    connection_bytes: float


@dataclass(frozen=True)
class QueueTimes:
    """Seconds of the broker's processor a message."""

    publish_cpu_s: float
    #: delivered and acknowledged
    consume_cpu_s: float

    @property
    def both_s(self) -> float:
        return self.publish_cpu_s + self.consume_cpu_s


@dataclass(frozen=True)
class WorkerTimes:
    #: seconds of the worker's processor a task, without the handler's
    task_cpu_s: float
    #: from the start of the process until its first task runs
    start_s: float
    #: database connections it had after a while with tasks
    connections: float


@dataclass(frozen=True)
class RealRun:
    """Real workers on the machine where the service times were measured, in one of the rounds."""

    workers: int
    task_s: float
    tasks_per_s: float
    #: what a commit waited for the disk just before and after, in the rhythm of these tasks: others may use it, too
    flush_s: float


@dataclass(frozen=True)
class ServiceTimes:
    #: what was measured, and on what
    about: dict[str, Any]
    database: DatabaseTimes
    classic: QueueTimes
    quorum: QueueTimes
    #: memory of the broker for one worker that is connected
    broker_connection_bytes: float
    worker: WorkerTimes
    #: of the machine
    cores: int
    #: commits that one flush of the log carried, with so many clients at once
    clients: int
    commits_per_flush: float
    real_runs: list[RealRun]

    def queue(self, queue_type: str) -> QueueTimes:
        return self.quorum if queue_type == "quorum" else self.classic

    def save(self, file: Path = FILE) -> None:
        file.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, file: Path = FILE) -> ServiceTimes:
        stored = json.loads(file.read_text(encoding="utf-8"))
        parts: dict[str, Any] = {
            "database": DatabaseTimes(**stored["database"]),
            "classic": QueueTimes(**stored["classic"]),
            "quorum": QueueTimes(**stored["quorum"]),
            "worker": WorkerTimes(**stored["worker"]),
            "real_runs": [RealRun(**run) for run in stored["real_runs"]],
        }
        return cls(**{**stored, **parts})
