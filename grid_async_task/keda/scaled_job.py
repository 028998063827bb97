"""For long tasks: a Job for each waiting message. KEDA never removes one while it works."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from grid_async_task.keda.pod import pod_template
from grid_async_task.keda.recurring import RecurringFile
from grid_async_task.keda.target import Target
from grid_async_task.keda.trigger import API_VERSION, trigger, trigger_authentication
from grid_async_task.settings import Settings

#: seconds without work after which a Job ends, where IDLE_TIMEOUT names none
IDLE_S = 30.0


def scaled_job_settings(settings: Settings) -> Settings:
    """A worker that never exits would be a Job that never ends."""
    return settings if settings.idle_timeout else replace(settings, idle_timeout=IDLE_S)


def scaled_job(settings: Settings, target: Target, recurring: RecurringFile | None) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "ScaledJob",
        "metadata": target.metadata(),
        "spec": {
            "jobTargetRef": {
                # a worker that died leaves its message behind, and KEDA starts another
                "backoffLimit": 0,
                "template": pod_template(settings, target, restart="Never", recurring=recurring),
            },
            "pollingInterval": 15,
            "minReplicaCount": 0,
            "maxReplicaCount": target.max_workers,
            "successfulJobsHistoryLimit": 5,
            "failedJobsHistoryLimit": 5,
            "rollout": {"strategy": "gradual"},
            "scalingStrategy": {"strategy": "accurate"},
            "triggers": [trigger(settings, target, protocol="amqp", value=1)],
        },
    }


def authentication(target: Target) -> dict[str, Any]:
    return trigger_authentication(target, "amqp-url")
