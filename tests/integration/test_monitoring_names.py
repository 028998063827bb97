"""Dashboard, alerts and pages speak of metrics that there are; for each alert there is a paragraph in the runbook."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from grid_async_task.adapters.prometheus import PrometheusObserver, StateMetrics

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "deploy" / "monitoring"
RUNBOOK = ROOT / "docs" / "runbook.md"
PAGE = ROOT / "docs" / "monitoring.md"
#: metrics of others: of the process, and of KEDA's operator
OTHERS = {"process_resident_memory_bytes", "keda_scaler_detail_errors_total"}
_METRIC = re.compile(r"\b(?:grid_async_task|process|keda|rabbitmq)_[a-z_]*[a-z]\b")


@pytest.fixture(scope="module")
def ours() -> dict[str, str]:
    """The type of each metric, by the name that is scraped."""
    registries: list[CollectorRegistry] = [PrometheusObserver("q", 1).registry, StateMetrics("q").registry]
    return {
        f"{family.name}_total" if family.type == "counter" else family.name: family.type
        for registry in registries
        for family in registry.collect()
    }


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((MONITORING / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    return list(group["rules"])


def names_in(text: str) -> set[str]:
    return set(_METRIC.findall(text))


def is_known(name: str, ours: dict[str, str]) -> bool:
    base = re.sub(r"_(bucket|sum|count)$", "", name)
    return name in ours or ours.get(base) == "histogram" or name in OTHERS


def expressions() -> str:
    dashboard = json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))
    variables = [str(each["query"]) for each in dashboard["templating"]["list"]]
    panels = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return "\n".join([*variables, *panels, *(str(rule["expr"]) for rule in rules())])


def test_what_dashboard_and_alerts_ask_for_is_there(ours: dict[str, str]) -> None:
    asked = names_in(expressions())
    assert {name for name in asked if not is_known(name, ours)} == set()
    assert len(asked) > 15


@pytest.mark.parametrize("page", [RUNBOOK, PAGE], ids=lambda page: page.name)
def test_what_pages_name_is_there(page: Path, ours: dict[str, str]) -> None:
    named = {name for name in names_in(page.read_text(encoding="utf-8")) if name.startswith("grid_async_task_")}
    assert {name for name in named if not is_known(name, ours)} == set()


def test_each_metric_of_ours_is_explained_and_looked_at(ours: dict[str, str]) -> None:
    metrics = {name for name in ours if name.startswith("grid_async_task_")}
    assert metrics - names_in(PAGE.read_text(encoding="utf-8")) == set()
    looked_at = {re.sub(r"_(bucket|sum|count)$", "", name) for name in names_in(expressions())}
    assert metrics - looked_at == set()


def test_each_alert_has_its_paragraph_and_each_paragraph_its_alert() -> None:
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", RUNBOOK.read_text(encoding="utf-8"), re.S | re.M))
    alerts = {rule["alert"]: rule["annotations"] for rule in rules()}
    assert set(sections) == set(alerts)
    for alert, said in alerts.items():
        assert said["runbook"] == f"docs/runbook.md#{alert.lower()}"
        assert said["summary"]
        for part in ("**Meaning.**", "**Look.**", "**Do.**"):
            assert part in sections[alert], (alert, part)


def test_labels_have_few_values_however_many_there_are() -> None:
    observer = PrometheusObserver("q", 1)
    for number in range(10_000):
        observer._task_type(f"type {number}")
    assert len({observer._task_type(f"type {number}") for number in range(10_000)}) == 51
