"""What the files say together: which scaler has which pods, and with what settings those run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from grid_async_task.keda.manifests import Manifest, at, mapping, number, objects
from grid_async_task.settings import Settings
from grid_async_task.settings.model import PREFIX

#: seconds that Kubernetes gives a pod that names no grace period
DEFAULT_GRACE_PERIOD_S = 30.0
#: seconds that a worker takes beyond SHUTDOWN_GRACE to hand its task back
HAND_BACK_S = 15.0

_SETTINGS: dict[str, Any] = {each.name: each for each in fields(Settings) if "parse" in each.metadata}
_ALIASES = {"task_timeout": "TIMEOUT"}
_DEPLOYED = ("Deployment", "StatefulSet")
#: what stands for a value that the files do not tell; what Kubernetes fills in, `$(NAME)`, begins in the same way
_ELSEWHERE = "$("


@dataclass(frozen=True)
class Pods:
    """The worker's pods, as the template in a manifest describes them."""

    manifest: Manifest
    template: dict[str, Any]
    #: variables whose values the files tell
    variables: dict[str, str]
    #: whether variables can also come from where the files do not show them
    open: bool

    @property
    def grace_period_s(self) -> float:
        stated = number(at(self.template, "spec", "terminationGracePeriodSeconds"))
        return DEFAULT_GRACE_PERIOD_S if stated is None else stated

    @property
    def is_worker(self) -> bool:
        return any(name.startswith(PREFIX) for name in self.variables)

    @property
    def queue(self) -> str | None:
        """Which one the worker reads; None where the files do not tell."""
        name = self.variables.get(PREFIX + "QUEUE")
        return None if not name or name.startswith(_ELSEWHERE) else name

    def seconds(self, setting: str) -> float | None:
        """What the worker takes for this setting; None where the files do not tell."""
        for name in (setting.upper(), _ALIASES.get(setting)):
            if name and (text := self.variables.get(PREFIX + name)):
                try:
                    return float(_SETTINGS[setting].metadata["parse"](text))
                except ValueError:
                    return None
        return None if self.open else float(_SETTINGS[setting].default)


@dataclass(frozen=True)
class Trigger:
    """One trigger of the type rabbitmq."""

    metadata: dict[str, Any]

    @property
    def protocol(self) -> str | None:
        """`amqp` or `http`; None where the files do not tell."""
        stated = self.metadata.get("protocol", "auto")
        if stated in ("amqp", "http"):
            return str(stated)
        scheme = str(self.metadata.get("host", "")).partition("://")[0].lower()
        return {"amqp": "amqp", "amqps": "amqp", "http": "http", "https": "http"}.get(scheme)

    @property
    def counts_unacknowledged(self) -> bool | None:
        """Whether running tasks are counted beside waiting ones; None where the files do not tell."""
        if self.protocol is None:
            return None
        return self.protocol == "http" and str(self.metadata.get("excludeUnacknowledged", "false")).lower() != "true"


@dataclass(frozen=True)
class Scaler:
    """A ScaledJob or a ScaledObject that looks at RabbitMQ."""

    manifest: Manifest
    triggers: tuple[Trigger, ...]
    #: None where their manifest is not among the files
    pods: Pods | None

    @property
    def is_job(self) -> bool:
        return self.manifest.kind == "ScaledJob"

    @property
    def min_replicas(self) -> float:
        return number(self.manifest.at("spec", "minReplicaCount")) or 0

    def seconds(self, setting: str) -> float | None:
        return self.pods.seconds(setting) if self.pods else None


class Cluster:
    """The objects of all files."""

    def __init__(self, manifests: list[Manifest]) -> None:
        self.manifests = manifests

    @cached_property
    def scalers(self) -> list[Scaler]:
        return list(self._scalers())

    @cached_property
    def scaled_jobs(self) -> list[Scaler]:
        return [scaler for scaler in self.scalers if scaler.is_job]

    @cached_property
    def scaled_objects(self) -> list[Scaler]:
        return [scaler for scaler in self.scalers if not scaler.is_job]

    @cached_property
    def deployed(self) -> list[Pods]:
        """Workers that Kubernetes starts again whenever they end."""
        scaled = {id(scaler.pods.manifest) for scaler in self.scaled_objects if scaler.pods}
        all_pods = (self._pods(each, each.at("spec", "template")) for each in self.manifests if each.kind in _DEPLOYED)
        return [pods for pods in all_pods if pods.is_worker or id(pods.manifest) in scaled]

    @cached_property
    def workers(self) -> list[Pods]:
        return [*self.deployed, *(scaler.pods for scaler in self.scaled_jobs if scaler.pods)]

    def of_kind(self, kind: str) -> list[Manifest]:
        return [manifest for manifest in self.manifests if manifest.kind == kind]

    def _scalers(self) -> Iterator[Scaler]:
        for manifest in self.manifests:
            if manifest.kind not in ("ScaledJob", "ScaledObject"):
                continue
            triggers = tuple(
                Trigger(mapping(trigger.get("metadata")))
                for trigger in objects(manifest.at("spec", "triggers"))
                if trigger.get("type") == "rabbitmq"
            )
            if triggers:
                yield Scaler(manifest, triggers, self._pods_of(manifest))

    def _pods_of(self, scaler: Manifest) -> Pods | None:
        if scaler.kind == "ScaledJob":
            return self._pods(scaler, scaler.at("spec", "jobTargetRef", "template"))
        target = mapping(scaler.at("spec", "scaleTargetRef"))
        found = self._find(str(target.get("kind", "Deployment")), target.get("name"), scaler)
        return self._pods(found, found.at("spec", "template")) if found else None

    def _pods(self, manifest: Manifest, template: Any) -> Pods:
        containers = objects(at(template, "spec", "containers"))
        read = [self._variables(container, manifest) for container in containers]
        ours = [each for each in read if any(name.startswith(PREFIX) for name in each[0])] or read[:1]
        variables, is_open = ours[0] if ours else ({}, True)
        return Pods(manifest, mapping(template), variables, is_open)

    def _variables(self, container: dict[str, Any], manifest: Manifest) -> tuple[dict[str, str], bool]:
        """What is told, and whether there may be more. `env` wins over `envFrom`, later entries over earlier ones."""
        told: dict[str, str] = {}
        is_open = False
        for source in objects(container.get("envFrom")):
            found = self._find("ConfigMap", at(source, "configMapRef", "name"), manifest)
            is_open |= found is None
            if found:
                prefix = str(source.get("prefix") or "")
                told |= {prefix + str(name): str(text) for name, text in mapping(found.at("data")).items()}
        for variable in objects(container.get("env")):
            name = str(variable.get("name"))
            reference = at(variable, "valueFrom", "configMapKeyRef")
            text = variable.get("value")
            if reference is not None:
                found = self._find("ConfigMap", at(reference, "name"), manifest)
                text = mapping(found.at("data")).get(str(at(reference, "key"))) if found else None
            # empty is unset
            unread = _ELSEWHERE if "valueFrom" in variable else ""
            told[name] = unread if text is None else str(text)
        return told, is_open

    def _find(self, kind: str, name: Any, near: Manifest) -> Manifest | None:
        """An object of this name in the same namespace, as far as namespaces are named."""
        for manifest in self.of_kind(kind):
            if manifest.name == name and (None in (near.namespace, manifest.namespace) or _same(near, manifest)):
                return manifest
        return None


def _same(one: Manifest, other: Manifest) -> bool:
    return one.namespace == other.namespace
