"""YAML files as Kubernetes manifests. They are other people's: nothing about their shape is taken for granted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml


class NotManifests(ValueError):
    """The file is no YAML. The text says where it stops being it."""


@dataclass(frozen=True)
class Manifest:
    """One object of a cluster, as it is written."""

    file: str
    content: dict[str, Any]

    @property
    def kind(self) -> str:
        return str(self.content.get("kind"))

    @property
    def name(self) -> str:
        return str(at(self.content, "metadata", "name"))

    @property
    def namespace(self) -> str | None:
        """None where it is left to whoever applies it."""
        namespace = at(self.content, "metadata", "namespace")
        return namespace if isinstance(namespace, str) else None

    @property
    def where(self) -> str:
        return f"{self.file}: {self.kind}/{self.name}"

    def at(self, *path: str) -> Any:
        return at(self.content, *path)


def read_manifests(file: str, text: str) -> list[Manifest]:
    """All objects of a multi-document file, those inside a List too; raises `NotManifests`."""
    try:
        documents = list(yaml.safe_load_all(text))
    # the other two: a number or a date that Python can't hold, and YAML nested without end
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        reason = getattr(error, "problem", None) or str(error)
        raise NotManifests(f"{file}{line}: not YAML: {reason} (templates have to be rendered first)") from None
    return [Manifest(file, content) for document in documents for content in _objects(document)]


def _objects(document: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(document, dict) or "kind" not in document:
        return
    if str(document["kind"]).endswith("List") and isinstance(document.get("items"), list):
        for item in document["items"]:
            yield from _objects(item)
    else:
        yield document


# -- safe steps into what may have any shape ------------------------------------------------------------


def at(value: Any, *path: str) -> Any:
    """What lies at the end of these keys; None where a step leads nowhere."""
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects of a list; none where it is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def number(value: Any) -> float | None:
    """A number, also one in quotes as KEDA's metadata has them; None where it is none."""
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None
