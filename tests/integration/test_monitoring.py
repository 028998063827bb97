"""deploy/monitoring: what Prometheus itself says of the rules and of the dashboard's questions."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.kubernetes.manifests import DEPLOY, kustomized, manifests, validate

MONITORING = DEPLOY / "monitoring"


def promtool(*arguments: str, cwd: Path = MONITORING) -> str:
    program = shutil.which("promtool")
    if program is None:
        pytest.fail("this test needs promtool: apt-get install --no-install-recommends prometheus")
    done = subprocess.run([program, *arguments], cwd=cwd, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def alerts() -> list[str]:
    (group,) = yaml.safe_load((MONITORING / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    return [rule["alert"] for rule in group["rules"]]


def test_the_rules_are_valid() -> None:
    assert f"{len(alerts())} rules found" in promtool("check", "rules", "alerts.yaml")


def test_each_alert_fires_when_it_should_and_only_then() -> None:
    promtool("test", "rules", "alerts.test.yaml")
    tests = yaml.safe_load((MONITORING / "alerts.test.yaml").read_text(encoding="utf-8"))["tests"]
    cases = [case for test in tests for case in test["alert_rule_test"]]
    for alert in alerts():
        fires = [bool(case.get("exp_alerts")) for case in cases if case["alertname"] == alert]
        assert set(fires) == {False, True}, alert


def test_the_tests_of_the_rules_can_fail(tmp_path: Path) -> None:
    rules = (MONITORING / "alerts.yaml").read_text(encoding="utf-8").replace("> 3600", "> 36000")
    (tmp_path / "alerts.yaml").write_text(rules, encoding="utf-8")
    shutil.copy(MONITORING / "alerts.test.yaml", tmp_path)
    with pytest.raises(AssertionError, match="GridAsyncTaskWaitingTooLong"):
        promtool("test", "rules", "alerts.test.yaml", cwd=tmp_path)


def test_the_dashboard_asks_what_prometheus_understands(tmp_path: Path) -> None:
    dashboard = json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))
    questions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(questions) > 15
    rules = [
        {"record": f"panel:{number}", "expr": question.replace("$queue", ".*").replace("$__rate_interval", "5m")}
        for number, question in enumerate(questions)
    ]
    assert not [rule for rule in rules if "$" in rule["expr"]], "a variable that nobody gives"
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", "rules.yaml", cwd=tmp_path)


@pytest.mark.parametrize("mode", ["long-tasks", "short-tasks"])
def test_the_component_adds_what_is_scraped(mode: str, tmp_path: Path) -> None:
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    overlay = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [f"../deploy/kustomize/overlays/{mode}"],
        "components": ["../deploy/monitoring"],
        "namePrefix": "reports-",
    }
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    made = manifests(kustomized(tmp_path / "reports"))
    for manifest in made:
        validate(manifest)
    (settings,) = [manifest["data"] for manifest in made if manifest["kind"] == "ConfigMap"]
    assert settings["GRID_ASYNC_TASK_METRICS_PORT"] == "9464"
    (exporter,) = [each for each in made if each["metadata"]["name"] == "reports-grid-async-task-exporter"]
    (container,) = exporter["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["grid-async-task", "metrics"]
    assert container["envFrom"][0]["configMapRef"]["name"].startswith("reports-grid-async-task")
    policies = [manifest for manifest in made if manifest["kind"] == "NetworkPolicy"]
    assert [{"port": 9464}] in [rule.get("ports") for policy in policies for rule in policy["spec"].get("ingress", [])]
