"""The worker's pod, and the Job that makes table and queues."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from grid_async_task.keda.cluster import HAND_BACK_S
from grid_async_task.keda.environment import variables
from grid_async_task.keda.recurring import RecurringFile
from grid_async_task.keda.target import Target
from grid_async_task.settings import Settings

#: seconds after which Kubernetes forgets a `migrate` that has ended, so that the next release can have its own
MIGRATE_KEPT_S = 600
#: on which workers answer probes, where HEALTH_PORT names none
PROBED_PORT = 8080
#: of the image
WORKING_DIRECTORY = PurePosixPath("/app")


def probed_settings(settings: Settings) -> Settings:
    """Kubernetes sees that a worker hangs only where it answers."""
    return settings if settings.health_port else replace(settings, health_port=PROBED_PORT)


def pod_template(
    settings: Settings,
    target: Target,
    *,
    restart: str,
    command: list[str] | None = None,
    recurring: RecurringFile | None = None,
) -> Any:
    """The image's own command runs the worker. After SIGTERM there is time to hand the task back."""
    component = "worker" if command is None else command[-1]
    container = {
        "name": component,
        "image": target.image,
        **({} if command is None else {"command": command}),
        "env": variables(settings, target),
        **(_probes(settings) if command is None else {}),
        # no limit of CPU time: a throttled worker renews its lease late
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "logs", "mountPath": str(WORKING_DIRECTORY / settings.log_dir)},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }
    hand_back = math.ceil(settings.shutdown_grace + HAND_BACK_S)
    template = {
        "metadata": {"labels": target.labels | {"app.kubernetes.io/component": component}},
        "spec": {
            "restartPolicy": restart,
            **({"terminationGracePeriodSeconds": hand_back} if command is None else {}),
            # variables of services are noise, and a token is not used
            "enableServiceLinks": False,
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
            # without limits, at which Kubernetes would remove the pod and its task
            "volumes": [{"name": "logs", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}],
        },
    }
    if recurring is not None:
        recurring.add_to(template, target)
    return template


def _probes(settings: Settings) -> dict[str, Any]:
    """A worker that hangs is ended after minutes, not seconds: it may have a task of hours in hand."""

    def probe(path: str, every_s: int, failures: int) -> dict[str, Any]:
        return {
            "httpGet": {"path": path, "port": "health"},
            "periodSeconds": every_s,
            "timeoutSeconds": 5,
            "failureThreshold": failures,
        }

    return {
        "ports": [{"name": "health", "containerPort": settings.health_port}],
        # a handler may load models
        "startupProbe": probe("/started", 5, 60),
        "livenessProbe": probe("/live", 30, 4),
        "readinessProbe": probe("/ready", 10, 3),
    }


def migrate_job(settings: Settings, target: Target) -> dict[str, Any]:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": target.metadata(f"{target.name}-migrate"),
        "spec": {
            "backoffLimit": 6,
            "ttlSecondsAfterFinished": MIGRATE_KEPT_S,
            "template": pod_template(settings, target, restart="OnFailure", command=["grid-async-task", "migrate"]),
        },
    }
