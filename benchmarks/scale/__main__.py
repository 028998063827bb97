"""See the package."""

from __future__ import annotations

import argparse
import logging

import structlog

from benchmarks import scale
from benchmarks.scale import page, plots, tables
from benchmarks.scale.autoscaler import Scaling
from benchmarks.scale.experiments import TASKS_S, WORKERS, Throughput, throughput, trickle, wakening
from benchmarks.scale.model import Load, Site
from benchmarks.scale.service_times import FILE, ServiceTimes

PICTURES = page.PAGE.with_name("scale")
POLLING_S = (5.0, 15.0, 30.0)
FLUSHES_S = (0.0001, 0.001, 0.01)
#: a busy service, a large one, and what one database can do
GROWTH_RATES = (1.0, 100.0, 1000.0)


def simulate(times: ServiceTimes) -> None:
    """Answer all questions; write plots and tables."""

    def line(task_s: float, site: Site | None = None, lease_s: float = 60.0) -> list[Throughput]:
        return [throughput(times, site or Site(), Load(workers, task_s, lease_s)) for workers in WORKERS]

    short, medium, long = TASKS_S
    hour_long = line(long)
    lines = {
        "10 ms, one quorum queue": line(short, Site(queue_type="quorum")),
        "10 ms, one classic queue": line(short),
        "10 ms, 8 quorum queues": line(short, Site(queue_type="quorum", queues=8)),
        "10 s": line(medium),
        "1 h": hour_long,
    }
    singles = [wakening(times, Scaling(polling_s), tasks=1, runs=300) for polling_s in POLLING_S]
    bursts = [wakening(times, Scaling(polling_s), tasks=100, runs=20) for polling_s in POLLING_S]
    trickles = [trickle(times, Scaling(polling_s), apart_s=60.0) for polling_s in POLLING_S]
    eight = Site(queues=8)
    alone, many = Load(1, short), Load(100, short)
    by_disk = [Site(queues=8, flush_s=flush_s) for flush_s in FLUSHES_S]
    disks = [(throughput(times, site, alone), throughput(times, site, many)) for site in by_disk]
    blocks = {
        "service-times": tables.service_times(times),
        "validation": tables.validation(times),
        "ends": tables.ends(times, TASKS_S),
        "throughput": tables.throughputs(lines),
        "housekeeping": tables.housekeeping(hour_long, line(long, lease_s=180.0)),
        "zero": tables.scaling_to_zero(singles, bursts, trickles),
        "grouping": tables.grouping(
            throughput(times, eight, Load(100, 0.001)), throughput(times, eight, Load(100, 0.001, together=5))
        ),
        "disks": tables.disks(disks),
        "growth": tables.growth(times, GROWTH_RATES),
    }
    page.write(blocks)
    PICTURES.mkdir(exist_ok=True)
    plots.tasks_per_second(PICTURES / "throughput.svg", lines)
    kinds = {
        "whose turn is the sweep?": ("election",),
        "heartbeats": ("heartbeat",),
        "claims and outcomes": ("claim", "outcome"),
    }
    plots.housekeeping(
        PICTURES / "housekeeping.svg",
        {
            name: {point.load.workers: sum(point.statements.get(part, 0.0) for part in parts) for point in hour_long}
            for name, parts in kinds.items()
        },
    )
    plots.first_task(PICTURES / "zero.svg", singles)


def main() -> None:
    options = argparse.ArgumentParser(description=scale.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--calibrate", action="store_true", help="measure the service times anew, and store them")
    options.add_argument("--tasks", type=int, default=1000, help="tasks of each kind in a round of measuring")
    options.add_argument("--rounds", type=int, default=5)
    chosen = options.parse_args()
    if chosen.calibrate:
        from benchmarks.scale.calibration import calibrate

        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
        calibrate(chosen.tasks, chosen.rounds).save()
    simulate(ServiceTimes.load())
    print(f"docs/scale.md and its plots are made from {FILE.name}")


if __name__ == "__main__":
    main()
