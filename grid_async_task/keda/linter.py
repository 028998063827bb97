"""All rules over some manifests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from grid_async_task.keda.cluster import Cluster
from grid_async_task.keda.finding import Finding
from grid_async_task.keda.manifests import Manifest
from grid_async_task.keda.rules import (
    ack_timeout,
    activation,
    cooldown,
    credentials,
    grace_period,
    idle_exit,
    job_protocol,
    long_tasks,
    min_replicas,
    object_protocol,
    queue_length,
    queue_name,
    rollout,
    threshold,
)

Rule = Callable[[Cluster], Iterator[Finding]]

RULES: tuple[Rule, ...] = (
    queue_length.check,
    queue_name.check,
    threshold.check,
    activation.check,
    job_protocol.check,
    object_protocol.check,
    rollout.check,
    grace_period.check,
    idle_exit.check,
    min_replicas.check,
    long_tasks.check,
    cooldown.check,
    credentials.check,
    ack_timeout.check,
)


def lint(manifests: Iterable[Manifest]) -> list[Finding]:
    """What is wrong, in the order of the rules. Files that belong together have to be looked at together."""
    cluster = Cluster(list(manifests))
    return [finding for rule in RULES for finding in rule(cluster)]
