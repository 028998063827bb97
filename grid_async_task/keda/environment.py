"""Settings as the variables of a container."""

from __future__ import annotations

from dataclasses import fields
from enum import Enum
from typing import Any

from grid_async_task.keda.target import Target
from grid_async_task.settings import Settings
from grid_async_task.settings.model import PREFIX

#: needed by every worker, whether or not they are set where the manifests are made
_ALWAYS = ("amqp_url", "mysql_url")


def variables(settings: Settings, target: Target) -> list[dict[str, Any]]:
    """Whatever differs from its default; secrets by reference."""
    plain = [
        {"name": PREFIX + each.name.upper(), "value": text}
        for each in _settings()
        if not _is_secret(each) and getattr(settings, each.name) != each.default
        # an empty variable is an unset one
        if (text := _text(getattr(settings, each.name)))
    ]
    return plain + [
        {
            "name": PREFIX + name.upper(),
            "valueFrom": {"secretKeyRef": {"name": target.secret, "key": key_of(name)}},
        }
        for name in secrets(settings)
    ]


def secrets(settings: Settings) -> list[str]:
    """The settings whose values belong into the Secret."""
    return [each.name for each in _settings() if _is_secret(each) and _is_used(settings, each.name)]


def key_of(setting: str) -> str:
    """Under which the Secret holds it."""
    return setting.replace("_", "-")


def _settings() -> list[Any]:
    return [each for each in fields(Settings) if "parse" in each.metadata]


def _is_secret(setting: Any) -> bool:
    """What is never shown as it is."""
    return setting.metadata["show"] is not repr


def _is_used(settings: Settings, name: str) -> bool:
    return name in _ALWAYS or bool(getattr(settings, name))


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case Enum():
            return str(value.value)
        case float() if value.is_integer():
            return str(int(value))
        case tuple():
            return ",".join(value)
        case _:
            return str(value)
