"""Credentials in plain sight.

A trigger's metadata, a pod's variables and a ConfigMap are shown by every `kubectl get -o yaml`, and lie in the
repository of the manifests. Secrets belong into a Secret: KEDA reads it through a TriggerAuthentication, a pod
through `secretKeyRef`.

Source: https://keda.sh/docs/latest/concepts/authentication/,
https://kubernetes.io/docs/concepts/configuration/secret/
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from grid_async_task.keda.cluster import Cluster
from grid_async_task.keda.finding import Finding
from grid_async_task.keda.manifests import Manifest, at, mapping, objects
from grid_async_task.settings import Settings
from grid_async_task.settings.masking import mask
from grid_async_task.settings.model import PREFIX

_SECRET_SETTINGS = {PREFIX + each.name.upper() for each in fields(Settings) if each.metadata.get("show") is mask}
#: a URL with a password; one that Kubernetes fills in, `$(NAME)`, comes from elsewhere
_WITH_PASSWORD = re.compile(r"[a-z][a-z0-9+.-]*://[^\s:/?#@]*:(?!\$\()[^\s/]+@", re.IGNORECASE)


def check(cluster: Cluster) -> Iterator[Finding]:
    for scaler in cluster.scalers:
        for trigger in scaler.triggers:
            for name in _exposed(trigger.metadata):
                yield Finding(
                    "credentials",
                    scaler.manifest.where,
                    f"the trigger's {name} holds a password",
                    "put it into a Secret, and name that in a TriggerAuthentication and in authenticationRef",
                )
    for manifest in cluster.manifests:
        for name in _exposed(_variables(manifest)):
            yield Finding(
                "credentials",
                manifest.where,
                f"{name} holds a secret",
                "put it into a Secret, and name that by valueFrom.secretKeyRef",
            )


def _exposed(values: Mapping[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        text = value if isinstance(value, str) else ""
        is_secret = name in _SECRET_SETTINGS or name.upper().endswith("PASSWORD")
        if (text and is_secret and not text.startswith("$(")) or _WITH_PASSWORD.match(text):
            yield name


def _variables(manifest: Manifest) -> dict[str, Any]:
    """What a ConfigMap, or the containers of a pod template, set in so many words."""
    if manifest.kind == "ConfigMap":
        return {str(name): value for name, value in mapping(manifest.at("data")).items()}
    pods = (
        manifest.at("spec", "template", "spec"),
        manifest.at("spec", "jobTargetRef", "template", "spec"),
        manifest.at("spec", "jobTemplate", "spec", "template", "spec"),
    )
    return {
        str(variable.get("name")): variable.get("value")
        for pod in pods
        for containers in ("initContainers", "containers")
        for container in objects(at(pod, containers))
        for variable in objects(container.get("env"))
    }
