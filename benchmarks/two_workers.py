"""Two workers on one queue, compared with one; and two raw loops, to see how far this machine's processors go."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from benchmarks.contenders import RAW_LOOP, WORKER, Contender
from benchmarks.figures import Figure, Result, at_least, ratios
from benchmarks.processes import Measured
from benchmarks.rounds import Effort, interleaved
from benchmarks.site import Site, channel_to, new_queue, remove, wait_for_consumers

PREFETCHES = (1, 50)


def measure(site: Site, effort: Effort) -> Result:
    runs = {
        f"{contender.name} {number} {prefetch}": _run_of(site, contender, number, prefetch, effort.tasks)
        for prefetch in PREFETCHES
        for contender in (WORKER, RAW_LOOP)
        for number in (1, 2)
    }
    rates = interleaved(effort.rounds, runs)
    figures = []
    for prefetch in PREFETCHES:
        for contender in (WORKER, RAW_LOOP):
            one, two = (rates[f"{contender.name} {number} {prefetch}"] for number in (1, 2))
            goal = at_least(1.7) if contender is WORKER and prefetch == 1 else None
            name = f"two {contender.name}s"
            figures.append(Figure(f"{name}, prefetch {prefetch}", "tasks/s", two))
            figures.append(Figure(f"{name} : one, prefetch {prefetch}", "x", ratios(two, one), goal))
    return Result(figures)


def _run_of(site: Site, contender: Contender, number: int, prefetch: int, tasks: int) -> Callable[[], float]:
    return lambda: _tasks_per_s(site, contender, number, prefetch, tasks)


def _tasks_per_s(site: Site, contender: Contender, number: int, prefetch: int, tasks: int) -> float:
    """While all of them are at work."""
    queue = new_queue()
    first = 20 + tasks // 10
    last = first + tasks
    command, environment = contender.command(queue), contender.environment(site, queue, prefetch)
    with channel_to(site.amqp_url) as channel, ExitStack() as stack:
        channel.queue_declare(queue, durable=True)
        processes = [stack.enter_context(Measured(site, command, environment, (first, last))) for _ in range(number)]
        wait_for_consumers(channel, queue, number)
        # the faster one must leave enough for the other to get that far
        contender.fill(site, queue, int(last * number * 1.5))
        ticks = [process.report()["ticks"] for process in processes]
    remove(site.amqp_url, queue)
    begin, end = max(each[0] for each in ticks), min(each[-1] for each in ticks)
    done = sum(begin <= tick < end for each in ticks for tick in each)
    return float(done / (end - begin))
