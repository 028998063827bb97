"""The picture of docs/performance.md: everybody's tasks a second, as a ratio to the raw loop of the same round."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

PREFETCHES = (1, 50)
MIDDLE = " : raw loop, prefetch "


def draw(results: Mapping[str, Any], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "grid"  # the same figures give the same file
    from matplotlib import pyplot

    figures = {figure["name"]: figure for figure in results["groups"]["throughput"]["figures"]}
    names = list(dict.fromkeys(name.split(MIDDLE)[0] for name in figures if MIDDLE in name))
    plot, axes = pyplot.subplots(1, len(PREFETCHES), figsize=(9, 2.6))
    for axis, prefetch in zip(axes, PREFETCHES, strict=True):
        bars = [figures[f"{name}{MIDDLE}{prefetch}"] for name in names]
        medians = [bar["median"] for bar in bars]
        spread = [
            [median - bar["lowest"] for median, bar in zip(medians, bars, strict=True)],
            [bar["highest"] - median for median, bar in zip(medians, bars, strict=True)],
        ]
        colors = ["#2a6fb0" if name == "worker" else "#b0b0b0" for name in names]
        axis.barh(names, medians, xerr=spread, color=colors, capsize=3)
        axis.axvline(1, color="black", linewidth=0.8, linestyle="--")
        axis.invert_yaxis()
        axis.set_title(f"tasks/s : raw loop (dashed), prefetch {prefetch}", fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    plot.tight_layout()
    plot.savefig(path, metadata={"Date": None})
    pyplot.close(plot)
