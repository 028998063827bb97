"""A ScaledObject that does not see running tasks.

Over `amqp` KEDA sees waiting messages only: as soon as the last one is taken the queue looks empty, and workers are
removed in the middle of their tasks. Over `http` it counts what is being worked on as well.

Source: https://keda.sh/docs/latest/scalers/rabbitmq-queue/ (`protocol`, `excludeUnacknowledged`)
"""

from __future__ import annotations

from collections.abc import Iterator

from grid_async_task.keda.cluster import Cluster
from grid_async_task.keda.finding import Finding


def check(cluster: Cluster) -> Iterator[Finding]:
    for scaler in cluster.scaled_objects:
        for trigger in scaler.triggers:
            if trigger.counts_unacknowledged is False:
                yield Finding(
                    "object-protocol",
                    scaler.manifest.where,
                    "the trigger counts waiting messages only: workers are removed while they run the last ones",
                    "write protocol: http (with the URL of the management API), without excludeUnacknowledged",
                )
