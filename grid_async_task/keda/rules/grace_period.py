"""Pods that are killed before their worker could end or hand back its task.

After SIGTERM a worker gives its task SHUTDOWN_GRACE seconds and takes up to 15 s more to hand it back. Killed earlier
it hands back nothing: the task waits for its lease to end, and a crash is counted. A ScaledObject removes workers
whenever the queue shrinks, so there the longest task has to fit as well. (A ScaledJob's pods are stopped only with
their node; their tasks are handed back.)

Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination
"""

from __future__ import annotations

from collections.abc import Iterator

from grid_async_task.keda.cluster import HAND_BACK_S, Cluster, Pods
from grid_async_task.keda.finding import Finding


def check(cluster: Cluster) -> Iterator[Finding]:
    scaled_in = {id(scaler.pods.manifest) for scaler in cluster.scaled_objects if scaler.pods}
    for pods in cluster.workers:
        for text, advice in _mistakes(pods, id(pods.manifest) in scaled_in):
            yield Finding("grace-period", pods.manifest.where, text, advice)


def _mistakes(pods: Pods, is_scaled_in: bool) -> Iterator[tuple[str, str]]:
    grace_s = pods.seconds("shutdown_grace") or 0.0
    longest_s = (pods.seconds("task_timeout") or 0.0) if is_scaled_in else 0.0
    needed_s = max(grace_s, longest_s) + HAND_BACK_S
    if pods.grace_period_s < needed_s:
        name = "TASK_TIMEOUT" if longest_s > grace_s else "SHUTDOWN_GRACE"
        yield (
            f"pods are killed after {pods.grace_period_s:g} s; {name} and {HAND_BACK_S:g} s to hand back are"
            f" {needed_s:g} s",
            f"write terminationGracePeriodSeconds: {needed_s:g} in the pod's spec",
        )
    if pods.seconds("shutdown_grace") is not None and grace_s < longest_s:
        yield (
            f"workers are removed at any time, and SHUTDOWN_GRACE ({grace_s:g} s) interrupts tasks that may take"
            f" TASK_TIMEOUT ({longest_s:g} s)",
            f'set GRID_ASYNC_TASK_SHUTDOWN_GRACE to "{longest_s:g}"',
        )
