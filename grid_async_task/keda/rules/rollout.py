"""A ScaledJob without `rollout.strategy: gradual`.

By default KEDA deletes all running Jobs when the ScaledJob is changed: every deployment of a new image would break
off every hour-long task.

Source: https://keda.sh/docs/latest/reference/scaledjob-spec/#rollout
"""

from __future__ import annotations

from collections.abc import Iterator

from grid_async_task.keda.cluster import Cluster
from grid_async_task.keda.finding import Finding


def check(cluster: Cluster) -> Iterator[Finding]:
    for scaler in cluster.scaled_jobs:
        # rolloutStrategy is its older, deprecated name
        strategy = scaler.manifest.at("spec", "rollout", "strategy") or scaler.manifest.at("spec", "rolloutStrategy")
        if strategy != "gradual":
            yield Finding(
                "rollout",
                scaler.manifest.where,
                "rollout.strategy is not gradual: each change of the ScaledJob deletes its running Jobs",
                "write rollout: {strategy: gradual}",
            )
