"""The numbers of docs/scale.md, as Markdown tables."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence

from benchmarks.scale.experiments import Throughput, Trickle, Wakening, percentile, predicted
from benchmarks.scale.limits import CONNECTIONS_A_WORKER, MAX_CONNECTIONS, PLANNED, limits
from benchmarks.scale.model import Load, Site
from benchmarks.scale.service_times import RealRun, ServiceTimes

DAY_S = 86_400


def service_times(times: ServiceTimes) -> str:
    database, about = times.database, times.about
    rows = [
        ("claim; outcome; heartbeat", _us(database.claim_cpu_s, database.outcome_cpu_s, database.renew_cpu_s)),
        ("each further task of a group: claim; outcome", _us(database.claim_row_cpu_s, database.outcome_row_cpu_s)),
        ("asking whether the sweep is one's turn; pruning a task", _us(database.election_cpu_s, database.prune_cpu_s)),
        (
            "a message of a classic queue: published; consumed",
            _us(times.classic.publish_cpu_s, times.classic.consume_cpu_s),
        ),
        ("of a quorum queue of one node", _us(times.quorum.publish_cpu_s, times.quorum.consume_cpu_s)),
        ("the worker itself, for a task", _us(times.worker.task_cpu_s)),
    ]
    return (
        f"Measured with {about['database']} and RabbitMQ {about['broker']}, {times.cores} cores,"
        f" load {about['load']} at the end, {about['rounds']} rounds of {about['tasks']} tasks.\n\n"
        + _table(("step", "processor time"), rows)
        + f"\n\nA commit waits {_ms(database.flush_s)} for the disk; with {times.clients} clients at once one flush"
        f" carried {times.commits_per_flush:.1f} commits. A worker takes {times.worker.start_s:.1f} s from its start to"
        f" its first task. A finished task takes {database.row_bytes:.0f} bytes, a connection"
        f" {database.connection_bytes / 1e6:.1f} MB of the database and {times.broker_connection_bytes / 1e6:.1f} MB of"
        " the broker."
    )


def validation(times: ServiceTimes) -> str:
    runs: dict[tuple[int, float], list[RealRun]] = {}
    for run in times.real_runs:
        runs.setdefault((run.workers, run.task_s), []).append(run)
    rows = []
    for (workers, task_s), rounds in runs.items():
        real = [run.tasks_per_s for run in rounds]
        expected = [predicted(times, run) for run in rounds]
        errors = [100 * (there / here - 1) for there, here in zip(expected, real, strict=True)]
        rows.append(
            (
                workers,
                _duration(task_s),
                f"{statistics.median(real):.0f}",
                f"{statistics.median(expected):.0f}",
                f"{statistics.median(errors):+.0f} % ({min(errors):+.0f} to {max(errors):+.0f})",
            )
        )
    return _table(("workers", "task", "real, tasks/s", "predicted", "error of a round"), rows)


def ends(times: ServiceTimes, tasks_s: Iterable[float]) -> str:
    loads = [Load(1, task_s) for task_s in tasks_s]
    connections = MAX_CONNECTIONS // CONNECTIONS_A_WORKER
    rows: list[Sequence[object]] = [
        (
            f"`max_connections` = {MAX_CONNECTIONS}, {CONNECTIONS_A_WORKER} a worker",
            *[f"{connections}"] * len(loads),
            "-",
        )
    ]
    for queue_type in ("quorum", "classic"):
        found = [limits(times, Site(queue_type=queue_type), load) for load in loads]
        rows.append(
            (
                f"one {queue_type} queue",
                *(_many(each.queue_workers) for each in found),
                _many(PLANNED * found[0].queue_tasks_per_s),
            )
        )
    found = [limits(times, Site(), load) for load in loads]
    rows.append(
        (
            f"database with {Site().database_cores} cores",
            *(_many(each.database_workers) for each in found),
            _many(PLANNED * found[0].database_tasks_per_s),
        )
    )
    names = [f"{_duration(load.task_s)} tasks" for load in loads]
    return _table(("ends at so many workers", *names, "tasks/s"), rows)


def throughputs(lines: Mapping[str, Sequence[Throughput]]) -> str:
    rows: list[Sequence[object]] = []
    for name, points in lines.items():
        rows.append((name, *(_rate(point.tasks_per_s) for point in points)))
    busy = [
        (name, point)
        for name, points in lines.items()
        for point in points
        if point.load.workers == points[-1].load.workers
    ]
    workers = [f"{point.load.workers:,}" for point in next(iter(lines.values()))]
    last = busy[0][1].load.workers
    return (
        _table(("tasks/s with so many workers", *workers), rows)
        + "\n\n"
        + _table(
            (f"at {last:,} workers", "database busy", "queue busy", "99 % of claims within", "commits a flush"),
            [
                (
                    name,
                    f"{100 * point.database_busy:.0f} %",
                    f"{100 * point.broker_busy:.0f} %",
                    _ms(point.claim_p99_s),
                    f"{point.commits_per_flush:.1f}",
                )
                for name, point in busy
            ],
        )
    )


def housekeeping(short_lease: Sequence[Throughput], long_lease: Sequence[Throughput]) -> str:
    rows = [
        (
            f"{point.load.workers:,}",
            f"{point.statements.get('heartbeat', 0):.1f}",
            f"{longer.statements.get('heartbeat', 0):.1f}",
            f"{point.statements.get('election', 0):.1f}",
            f"{60 * point.statements.get('sweep', 0):.1f}",
            f"{100 * point.database_busy:.1f} %",
        )
        for point, longer in zip(short_lease, long_lease, strict=True)
    ]
    leases = [f"heartbeats/s, lease {points[0].load.lease_s:g} s" for points in (short_lease, long_lease)]
    return _table(("workers", *leases, "whose turn?/s", "sweeps/min", "database busy"), rows)


def scaling_to_zero(singles: Sequence[Wakening], bursts: Sequence[Wakening], trickles: Sequence[Trickle]) -> str:
    rows = [
        (
            f"{single.scaling.polling_s:g} s",
            f"{statistics.median(single.first_s):.0f} s",
            f"{percentile(single.first_s, 95):.0f} s",
            f"{burst.tasks}: {statistics.median(burst.last_s):.0f} s",
            f"{single.wasted:.2f}",
            f"{burst.wasted:.2f}",
            f"{trickle.started:.2f}",
            f"{trickle.wasted:.2f}",
            f"{trickle.seen:.2f}",
        )
        for single, burst, trickle in zip(singles, bursts, trickles, strict=True)
    ]
    apart = _duration(trickles[0].apart_s)
    head = (
        "KEDA looks every",
        "first task after",
        "95 % within",
        "last of a burst",
        "wasted pods a task, single",
        "burst",
        f"a task each {apart}: pods a task",
        "wasted",
        "waiting at a poll",
    )
    return _table(head, rows)


def grouping(alone: Throughput, together: Throughput) -> str:
    rows = [
        (
            name,
            f"{point.tasks_per_s:,.0f}",
            f"{100 * point.database_busy:.0f} %",
            _us(point.database_busy * point.site.database_cores / point.tasks_per_s),
        )
        for name, point in (
            ("prefetch 1", alone),
            (f"prefetch 50, groups of {together.load.together}", together),
        )
    ]
    head = (
        f"{alone.load.workers} workers, {_duration(alone.load.task_s)} tasks",
        "tasks/s",
        "database busy",
        "its time a task",
    )
    return _table(head, rows)


def disks(points: Sequence[tuple[Throughput, Throughput]]) -> str:
    rows = [
        (_ms(one.site.flush_s), f"{one.tasks_per_s:.0f}", f"{many.tasks_per_s:,.0f}", f"{many.commits_per_flush:.1f}")
        for one, many in points
    ]
    many = points[0][1].load.workers
    return _table(("a flush takes", "tasks/s, 1 worker", f"tasks/s, {many} workers", "commits a flush"), rows)


def growth(times: ServiceTimes, rates: Iterable[float]) -> str:
    """Of the table, and what it costs to prune as fast as tasks end."""
    cpu = times.database
    rows = [
        (
            f"{rate:,.0f}",
            f"{rate * DAY_S / 1e6:,.2g} million",
            f"{rate * DAY_S * cpu.row_bytes / 1e9:,.2g} GB",
            f"{100 * rate * cpu.prune_cpu_s:.2g} %",
        )
        for rate in rates
    ]
    share = 100 * cpu.prune_cpu_s / (cpu.claim_cpu_s + cpu.outcome_cpu_s)
    return (
        _table(("tasks/s", "rows a day", "size a day", "of one core, to prune them"), rows)
        + f"\n\nPruning a task costs {share:.0f} % of what running it cost the database."
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _us(*seconds: float) -> str:
    return "; ".join(f"{1e6 * each:.0f} µs" for each in seconds)


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.1f} ms"


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _many(value: float) -> str:
    """Two figures are all that such a number is good for."""
    rounded = float(f"{value:.2g}")
    return f"{rounded:,.0f}" if rounded < 1e6 else "over a million"


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{1e3 * seconds:g} ms"
    if seconds < 3600:
        return f"{seconds:g} s"
    return f"{seconds / 3600:g} h"
