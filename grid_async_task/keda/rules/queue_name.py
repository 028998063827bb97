"""A trigger that looks at another queue than the workers read.

The queue's name stands in two places, in the trigger and in the worker's settings. Where they differ, tasks wait for a
worker that KEDA does not start, or workers are started for tasks that they do not see.

Source: https://keda.sh/docs/latest/scalers/rabbitmq-queue/ (`queueName`, `useRegex`)
"""

from __future__ import annotations

from collections.abc import Iterator

from grid_async_task.keda.cluster import Cluster
from grid_async_task.keda.finding import Finding


def check(cluster: Cluster) -> Iterator[Finding]:
    for scaler in cluster.scalers:
        read = scaler.pods.queue if scaler.pods else None
        for trigger in scaler.triggers:
            looked_at = trigger.metadata.get("queueName")
            is_regex = str(trigger.metadata.get("useRegex", "false")).lower() == "true"
            if read and isinstance(looked_at, str) and looked_at != read and not is_regex:
                yield Finding(
                    "queue-name",
                    scaler.manifest.where,
                    f"the trigger looks at the queue {looked_at}, its workers read {read}",
                    f"write queueName: {read}, or set GRID_ASYNC_TASK_QUEUE to {looked_at}",
                )
