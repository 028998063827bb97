"""Idle exit where Kubernetes does not want it, and none where KEDA needs it.

A Deployment starts a worker that has ended anew, also after exit code 0, and calls it CrashLoopBackOff. A ScaledJob
is the opposite: its Jobs count until they end, so workers that never exit hold all places when nothing is to do.

Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy (a Deployment's pods are
always restarted), https://keda.sh/docs/latest/concepts/scaling-jobs/
"""

from __future__ import annotations

from collections.abc import Iterator

from grid_async_task.keda.cluster import Cluster
from grid_async_task.keda.finding import Finding


def check(cluster: Cluster) -> Iterator[Finding]:
    for pods in cluster.deployed:
        if idle_s := pods.seconds("idle_timeout"):
            yield Finding(
                "idle-exit",
                pods.manifest.where,
                f"the worker exits after {idle_s:g} idle seconds, and is started again: CrashLoopBackOff",
                'set GRID_ASYNC_TASK_IDLE_TIMEOUT to "0"; with a ScaledObject KEDA removes idle workers',
            )
    for scaler in cluster.scaled_jobs:
        if scaler.seconds("idle_timeout") == 0:
            yield Finding(
                "idle-exit",
                scaler.manifest.where,
                "the worker never exits (IDLE_TIMEOUT is 0), so its Job never ends",
                'set GRID_ASYNC_TASK_IDLE_TIMEOUT to a few seconds, for example "30"',
            )
