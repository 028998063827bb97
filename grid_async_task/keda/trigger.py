"""What KEDA looks at: the work queue, and the credentials for it."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from grid_async_task.keda.target import Target
from grid_async_task.settings import Settings

API_VERSION = "keda.sh/v1alpha1"


def trigger(settings: Settings, target: Target, *, protocol: Literal["amqp", "http"], value: int) -> dict[str, Any]:
    """One worker for `value` messages. Everything in metadata is text."""
    return {
        "type": "rabbitmq",
        "metadata": {
            "protocol": protocol,
            "mode": "QueueLength",
            "value": str(value),
            "queueName": str(settings.queue),
            **_virtual_host(settings.amqp_url),
        },
        "authenticationRef": {"name": target.name},
    }


def trigger_authentication(target: Target, key: str) -> dict[str, Any]:
    """The broker's URL is `key` of the Secret."""
    return {
        "apiVersion": API_VERSION,
        "kind": "TriggerAuthentication",
        "metadata": target.metadata(),
        "spec": {"secretTargetRef": [{"parameter": "host", "name": target.secret, "key": key}]},
    }


def _virtual_host(amqp_url: str | None) -> dict[str, str]:
    """Clients differ on what a URL that ends in `/` means, so it is said; unless the URL is not known here."""
    if amqp_url is None or not amqp_url.startswith("amqp"):
        return {}
    return {"vhostName": unquote(urlsplit(amqp_url).path[1:]) or "/"}
