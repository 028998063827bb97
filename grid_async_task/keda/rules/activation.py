"""`activationValue` of 1 or more.

KEDA starts from zero only when the queue holds more messages than that. A retry that is due, or a callback that is
owed, is one message: it would lie there until others come. So would tasks, up to that number.

Source: https://keda.sh/docs/latest/concepts/scaling-deployments/#activating-and-scaling-thresholds
"""

from __future__ import annotations

from collections.abc import Iterator

from grid_async_task.keda.cluster import Cluster
from grid_async_task.keda.finding import Finding
from grid_async_task.keda.manifests import number


def check(cluster: Cluster) -> Iterator[Finding]:
    for scaler in cluster.scalers:
        for trigger in scaler.triggers:
            activation = number(trigger.metadata.get("activationValue")) or 0
            if activation >= 1:
                value = number(trigger.metadata.get("value"))
                above = f", although value {value:g} asks for a worker" if value and value <= activation else ""
                yield Finding(
                    "activation",
                    scaler.manifest.where,
                    f"activationValue is {activation:g}: from zero, {activation:g} messages start no worker{above}",
                    "leave activationValue out, so that a single message wakes a worker",
                )
