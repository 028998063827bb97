"""A ScaledObject that goes to zero in the middle of a retry delay.

A waiting retry is invisible to KEDA until it is due. With `cooldownPeriod` below RETRY_DELAY, every failed attempt
ends in a removed worker and a cold start.

Source: https://keda.sh/docs/latest/reference/scaledobject-spec/#cooldownperiod
"""

from __future__ import annotations

from collections.abc import Iterator

from grid_async_task.keda.cluster import Cluster
from grid_async_task.keda.finding import Finding
from grid_async_task.keda.manifests import number

#: seconds, where the ScaledObject names none
DEFAULT_COOLDOWN_S = 300.0


def check(cluster: Cluster) -> Iterator[Finding]:
    for scaler in cluster.scaled_objects:
        stated = number(scaler.manifest.at("spec", "cooldownPeriod"))
        cooldown_s = DEFAULT_COOLDOWN_S if stated is None else stated
        delay_s = scaler.seconds("retry_delay")
        # with a worker that always stays, nothing goes to zero
        if delay_s is not None and cooldown_s < delay_s and scaler.min_replicas == 0:
            yield Finding(
                "cooldown",
                scaler.manifest.where,
                f"cooldownPeriod is {cooldown_s:g} s and RETRY_DELAY {delay_s:g} s: each retry is a cold start",
                f"write cooldownPeriod: {delay_s:g} or more",
            )
