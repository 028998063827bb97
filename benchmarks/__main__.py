"""Measure, and write down what came of it.

    python -m benchmarks                      all figures, about 12 minutes
    python -m benchmarks --quick              the same with less of everything, about 3 minutes
    python -m benchmarks --only latency       one group
    python -m benchmarks --large              growth with 10,000,000 rows too: minutes more, and some 5 GB of disk
    python -m benchmarks --publish            and put the figures into docs/performance.md
    python -m benchmarks --publish --from F   put those of an earlier run there

Runs on Linux, and takes the whole machine: whatever else runs there shows in the figures.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import time
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import structlog

from benchmarks.machine import described
from benchmarks.page import TITLES, figures_text, with_figures
from benchmarks.plot import draw
from benchmarks.processes import ROOT
from benchmarks.rounds import FULL, LARGE_ROWS, QUICK, Effort
from benchmarks.site import open_site

RESULTS = Path(__file__).parent / "results"
PUBLISHED = ROOT / "docs" / "performance.json"
PAGE = ROOT / "docs" / "performance.md"
PICTURE = ROOT / "docs" / "performance.svg"


def main() -> None:
    options = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--only", nargs="+", choices=TITLES, default=list(TITLES), metavar="GROUP")
    options.add_argument("--quick", action="store_true")
    options.add_argument("--large", action="store_true")
    options.add_argument("--publish", action="store_true")
    options.add_argument("--from", dest="earlier", type=Path)
    chosen = options.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    if chosen.earlier:
        results = json.loads(chosen.earlier.read_text())
    else:
        effort = QUICK if chosen.quick else FULL
        if chosen.large:
            effort = replace(effort, rows=(*effort.rows, LARGE_ROWS))
        results = measured(chosen.only, effort)
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{datetime.now(timezone.utc):%Y-%m-%dT%H%M%S}.json"
        path.write_text(_json(results))
        print(figures_text(results), f"\n\n{path}")
    if chosen.publish:
        publish(results)


def measured(groups: list[str], effort: Effort) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with open_site() as site:
        for name in groups:
            began = time.monotonic()
            print(f"{name} ...", flush=True)
            result = importlib.import_module(f"benchmarks.{name}").measure(site, effort)
            found[name] = {
                "measured_at": f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC",
                "seconds": round(time.monotonic() - began),
                **result.to_json(),
            }
        return {"machine": described(site), "groups": found}


def publish(results: dict[str, Any]) -> None:
    """Groups that were not measured this time keep their figures."""
    before = json.loads(PUBLISHED.read_text()) if PUBLISHED.exists() else {"groups": {}}
    groups = {**before["groups"], **results["groups"]}
    results = {**results, "groups": {name: groups[name] for name in TITLES if name in groups}}
    PUBLISHED.write_text(_json(results))
    if "throughput" in groups:
        draw(results, PICTURE)
    PAGE.write_text(with_figures(PAGE.read_text(), results))


def _json(results: dict[str, Any]) -> str:
    return json.dumps(results, indent=1) + "\n"


if __name__ == "__main__":
    main()
