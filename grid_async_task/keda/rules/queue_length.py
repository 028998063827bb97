"""`queueLength` in a trigger.

KEDA replaced it by `mode` and `value`: it is deprecated, and can't be given beside `mode`.

Source: https://keda.sh/docs/latest/scalers/rabbitmq-queue/
"""

from __future__ import annotations

from collections.abc import Iterator

from grid_async_task.keda.cluster import Cluster
from grid_async_task.keda.finding import Finding


def check(cluster: Cluster) -> Iterator[Finding]:
    for scaler in cluster.scalers:
        for trigger in scaler.triggers:
            if "queueLength" in trigger.metadata:
                yield Finding(
                    "queue-length",
                    scaler.manifest.where,
                    "the trigger has queueLength, which is deprecated",
                    f'write mode: QueueLength and value: "{trigger.metadata["queueLength"]}"',
                )
