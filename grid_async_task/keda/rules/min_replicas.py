"""`minReplicaCount` above 0 with workers that exit when idle.

KEDA keeps that many workers, and they leave as soon as there is nothing to do: each is replaced at the next poll, all
day long.

Source: https://keda.sh/docs/latest/reference/scaledjob-spec/#minreplicacount
"""

from __future__ import annotations

from collections.abc import Iterator

from grid_async_task.keda.cluster import Cluster
from grid_async_task.keda.finding import Finding


def check(cluster: Cluster) -> Iterator[Finding]:
    for scaler in cluster.scalers:
        idle_s = scaler.seconds("idle_timeout")
        if scaler.min_replicas > 0 and idle_s:
            yield Finding(
                "min-replicas",
                scaler.manifest.where,
                f"minReplicaCount is {scaler.min_replicas:g}, but workers exit after {idle_s:g} idle seconds",
                "write minReplicaCount: 0"
                if scaler.is_job
                else 'write minReplicaCount: 0, or set GRID_ASYNC_TASK_IDLE_TIMEOUT to "0"',
            )
