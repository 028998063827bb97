"""The pictures of docs/scale.md, as SVG that stays the same while the numbers do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.scale.experiments import Throughput, Wakening

_STYLE: Any = {
    "svg.hashsalt": "scale",
    "svg.fonttype": "none",
    "font.size": 11,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@contextmanager
def _picture(file: Path, title: str, x: str, y: str) -> Iterator[Axes]:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        axes = figure.add_subplot()
        yield axes
        axes.set(title=title, xlabel=x, ylabel=y)
        axes.legend(frameon=False)
        figure.savefig(file, metadata={"Date": None})


def tasks_per_second(file: Path, lines: Mapping[str, Sequence[Throughput]]) -> None:
    with _picture(file, "Tasks per second, with enough work for all", "workers", "tasks/s") as axes:
        for name, points in lines.items():
            workers = [point.load.workers for point in points]
            axes.loglog(workers, [point.tasks_per_s for point in points], marker="o", label=name)


def housekeeping(file: Path, lines: Mapping[str, Mapping[int, float]]) -> None:
    """Statements a second by number of workers."""
    with _picture(file, "The database's load from tasks of an hour", "workers", "statements/s") as axes:
        for name, points in lines.items():
            axes.loglog(list(points), list(points.values()), marker="o", label=name)


def first_task(file: Path, wakenings: Sequence[Wakening]) -> None:
    """How likely it is that the first task has begun."""
    with _picture(
        file, "The first task after a time without workers", "seconds since its message", "has begun"
    ) as axes:
        for each in wakenings:
            shares = [(number + 1) / len(each.first_s) for number in range(len(each.first_s))]
            axes.step(
                sorted(each.first_s), shares, where="post", label=f"KEDA looks every {each.scaling.polling_s:g} s"
            )
        axes.set(xlim=(0, None), ylim=(0, 1.02))
