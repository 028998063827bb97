"""The table of docs/performance.md, written between two markers; what stands around it is written by hand."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
TITLES = {
    "throughput": "Tasks a second",
    "layers": "From the raw loop to the worker",
    "two_workers": "Two workers",
    "start_up": "Start and memory",
    "latency": "Latency",
    "progress": "Progress",
    "batch_send": "Sending",
    "growth": "A full table, a long queue",
}


def with_figures(page: str, results: Mapping[str, Any]) -> str:
    """The page, with these figures in the place of the ones before."""
    pattern = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"the page has no place for figures: {BEGIN} ... {END}")
    return pattern.sub(lambda _: f"{BEGIN}\n{figures_text(results)}\n{END}", page)


def figures_text(results: Mapping[str, Any]) -> str:
    machine = results["machine"]
    parts = [
        f"Measured on {machine['processors']} processors ({machine['processor']}), {machine['memory_gb']} GB,"
        f" Python {machine['python']}, RabbitMQ {machine['rabbitmq']}, {machine['database']}.",
        "![Tasks a second](performance.svg)",
        _shortfalls(results["groups"]),
    ]
    for name, group in results["groups"].items():
        rows = [_row(figure) for figure in group["figures"]]
        table = _table(("figure", "median", "from - to", "rounds", "goal", ""), rows)
        parts += [f"### {TITLES[name]}", f"Measured at {group['measured_at']}, in {group['seconds']} s.", table]
        for more in group["tables"]:
            parts += [f"**{more['title']}**", _table(more["columns"], more["rows"])]
    return "\n\n".join(parts)


def _shortfalls(groups: Mapping[str, Any]) -> str:
    short = [
        f"- {figure['name']}: {_number(figure['median'])} {figure['unit']}, the goal is {figure['goal']}"
        for group in groups.values()
        for figure in group["figures"]
        if figure["met"] is False
    ]
    return "\n".join(["Goals that are not reached:", "", *short]) if short else "All goals are reached."


def _row(figure: Mapping[str, Any]) -> tuple[str, ...]:
    median, lowest, highest = (_number(figure[key]) for key in ("median", "lowest", "highest"))
    verdict = {None: "", True: "reached", False: "**not reached**"}[figure["met"]]
    value = f"{median} {figure['unit']}".strip()
    return (figure["name"], value, f"{lowest} - {highest}", str(figure["rounds"]), figure["goal"] or "", verdict)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
