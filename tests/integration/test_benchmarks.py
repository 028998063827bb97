"""The benchmarks run: their smallest figures, in numbers that say nothing."""

from __future__ import annotations

from pathlib import Path

from benchmarks import batch_send, throughput
from benchmarks.contenders import RAW_LOOP, WORKER
from benchmarks.figures import Figure, Result, at_least, at_most
from benchmarks.page import BEGIN, END, with_figures
from benchmarks.rounds import TINY, interleaved
from benchmarks.site import Site

MACHINE = {
    "processors": 2,
    "processor": "any",
    "memory_gb": 4,
    "python": "3",
    "rabbitmq": "4",
    "database": "MariaDB",
}


def test_the_worker_and_the_raw_loop_are_measured(amqp_url: str, mysql_url: str, tmp_path: Path) -> None:
    site = Site(amqp_url, mysql_url, tmp_path)
    for contender, prefetch in ((WORKER, 50), (RAW_LOOP, 1)):
        speed = throughput.speed_of(site, contender, prefetch, 20)
        assert speed.tasks_per_s > 0
        assert speed.cpu_ms > 0


def test_sending_is_measured(amqp_url: str, mysql_url: str, tmp_path: Path) -> None:
    result = batch_send.measure(Site(amqp_url, mysql_url, tmp_path), TINY)
    assert all(figure.median > 0 for figure in result.figures)


def test_a_round_has_each_once_and_begins_with_another() -> None:
    order: list[str] = []
    found = interleaved(2, {"a": lambda: order.append("a"), "b": lambda: order.append("b")})
    assert order == ["a", "b", "b", "a"]
    assert found == {"a": [None, None], "b": [None, None]}


def test_the_page_gets_the_figures_and_names_the_shortfalls() -> None:
    result = Result(
        [
            Figure("fast", "x", [1.0, 3.0, 2.0], at_least(2)),
            Figure("slow", "ms", [4.0], at_most(3)),
            Figure("large", "tasks/s", [12345.6]),
        ]
    )
    group = {"measured_at": "today", "seconds": 1, **result.to_json()}
    page = with_figures(f"before {BEGIN} old {END} after", {"machine": MACHINE, "groups": {"latency": group}})
    assert page.startswith("before ")
    assert page.endswith(" after")
    assert " old " not in page
    assert "| fast | 2 x | 1 - 3 | 3 | >= 2 | reached |" in page
    assert "| large | 12,350 tasks/s | 12,350 - 12,350 | 1 |  |  |" in page
    assert "- slow: 4 ms, the goal is <= 3" in page
    assert "- fast" not in page
