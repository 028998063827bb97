"""For short tasks: a Deployment that grows and shrinks with the queue, down to zero."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from grid_async_task.domain.errors import ConfigurationError
from grid_async_task.keda.pod import pod_template
from grid_async_task.keda.recurring import RecurringFile
from grid_async_task.keda.rules.cooldown import DEFAULT_COOLDOWN_S
from grid_async_task.keda.rules.long_tasks import LONGEST_SHORT_TASK_S
from grid_async_task.keda.target import Target
from grid_async_task.keda.trigger import API_VERSION, trigger, trigger_authentication
from grid_async_task.settings import Settings

#: in the Secret: the URL of the management API, which knows of messages that are being worked on
MANAGEMENT_URL_KEY = "management-url"
#: waiting and running, for which one worker is enough
MESSAGES_PER_WORKER = 5


def scaled_object_settings(settings: Settings) -> Settings:
    """KEDA ends the workers, none by itself; whichever it ends can finish the task at hand.

    Raises `ConfigurationError` for tasks that are too long for this.
    """
    longest_s = max(settings.task_timeout, settings.shutdown_grace)
    if longest_s > LONGEST_SHORT_TASK_S:
        name = "TASK_TIMEOUT" if settings.task_timeout > settings.shutdown_grace else "SHUTDOWN_GRACE"
        raise ConfigurationError(
            f"GRID_ASYNC_TASK_{name} is {longest_s:g} s, and a ScaledObject removes workers in the middle of their"
            f" tasks: use --mode scaledjob, or set it to at most {LONGEST_SHORT_TASK_S:g}"
        )
    return replace(settings, idle_timeout=0.0, shutdown_grace=longest_s)


def deployment(settings: Settings, target: Target, recurring: RecurringFile | None) -> dict[str, Any]:
    template = pod_template(settings, target, restart="Always", recurring=recurring)
    # said although it is the default: whatever the image sets, here it would be a crash loop
    template["spec"]["containers"][0]["env"].insert(0, {"name": "GRID_ASYNC_TASK_IDLE_TIMEOUT", "value": "0"})
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": target.metadata(),
        # no number of replicas: that is KEDA's, also when this is applied again
        "spec": {"selector": {"matchLabels": template["metadata"]["labels"]}, "template": template},
    }


def scaled_object(settings: Settings, target: Target) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "ScaledObject",
        "metadata": target.metadata(),
        "spec": {
            "scaleTargetRef": {"name": target.name},
            "pollingInterval": 15,
            "cooldownPeriod": math.ceil(max(DEFAULT_COOLDOWN_S, settings.retry_delay)),
            "minReplicaCount": 0,
            "maxReplicaCount": target.max_workers,
            "triggers": [trigger(settings, target, protocol="http", value=MESSAGES_PER_WORKER)],
        },
    }


def authentication(target: Target) -> dict[str, Any]:
    return trigger_authentication(target, MANAGEMENT_URL_KEY)
