"""A ScaledObject for long tasks.

When the queue shrinks, the autoscaler removes pods without asking which of them is at work. The grace period would
have to cover the longest task, and nobody waits that long: the cluster autoscaler kills the pods of a node that it
removes after 10 minutes.

Source: https://keda.sh/docs/latest/concepts/scaling-deployments/#long-running-executions,
https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/FAQ.md (`max-graceful-termination-sec`)
"""

from __future__ import annotations

from collections.abc import Iterator

from grid_async_task.keda.cluster import HAND_BACK_S, Cluster, Pods
from grid_async_task.keda.finding import Finding

#: seconds that the cluster autoscaler waits for pods to end
LONGEST_SHORT_TASK_S = 600.0


def check(cluster: Cluster) -> Iterator[Finding]:
    for scaler in cluster.scaled_objects:
        if scaler.pods and (longest_s := _longest_task_s(scaler.pods)) > LONGEST_SHORT_TASK_S:
            yield Finding(
                "long-tasks",
                scaler.manifest.where,
                f"its workers run tasks of up to {longest_s:g} s, and are removed while they do",
                "use a ScaledJob: grid-async-task keda render --mode scaledjob",
            )


def _longest_task_s(pods: Pods) -> float:
    """Where no limit is set, how long somebody was ready to wait for a task tells as much."""
    return pods.seconds("task_timeout") or max(pods.seconds("shutdown_grace") or 0.0, pods.grace_period_s - HAND_BACK_S)
