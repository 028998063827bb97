"""The file of recurring tasks: in a ConfigMap, and from there in the pods that look for them."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

from grid_async_task.domain.errors import ConfigurationError
from grid_async_task.keda.target import Target
from grid_async_task.settings.model import PREFIX

_FILE = PurePosixPath("/etc/grid-async-task/recurring.yaml")


@dataclass(frozen=True)
class RecurringFile:
    """What it holds is not looked at here."""

    text: str

    @classmethod
    def read(cls, path: str) -> RecurringFile:
        """Raises `ConfigurationError`."""
        try:
            return cls(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"RECURRING: {path} can't be read: {error}") from error

    def config_map(self, target: Target) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": target.metadata(_name(target)),
            "data": {_FILE.name: self.text},
        }

    def add_to(self, template: dict[str, Any], target: Target) -> None:
        """The template of a pod with one container."""
        # it is read once, at the start: a new file is new pods
        template["metadata"]["annotations"] = {"checksum/recurring": sha256(self.text.encode()).hexdigest()}
        (container,) = template["spec"]["containers"]
        container["env"].append({"name": PREFIX + "RECURRING", "value": str(_FILE)})
        container["volumeMounts"].append({"name": "recurring", "mountPath": str(_FILE.parent), "readOnly": True})
        template["spec"]["volumes"].append({"name": "recurring", "configMap": {"name": _name(target)}})


def _name(target: Target) -> str:
    return f"{target.name}-recurring"
