"""A broker that takes messages back from tasks which may still run.

RabbitMQ closes the channel of a consumer that has not acknowledged for `consumer_timeout` (30 minutes unless set).
The task goes on here and is not run twice, but its message comes back, KEDA sees it and starts a worker for nothing.
The worker asks for more time by itself; a shorter limit that somebody has written down, in a policy or for brokers
that know no limit per consumer, should not be below TASK_TIMEOUT.

Source: https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from grid_async_task.keda.cluster import Cluster
from grid_async_task.keda.finding import Finding
from grid_async_task.keda.manifests import Manifest, mapping, number

#: in rabbitmq.conf and in advanced.config
_IN_CONFIGURATION = re.compile(r"^(?!\s*[#%]).*?\bconsumer_timeout\s*[=,]\s*(\d+)", re.MULTILINE)


def check(cluster: Cluster) -> Iterator[Finding]:
    longest_s = max((pods.seconds("task_timeout") or 0.0 for pods in cluster.workers), default=0.0)
    for manifest in cluster.manifests:
        for timeout_s in _timeouts_s(manifest):
            if timeout_s < longest_s:
                yield Finding(
                    "ack-timeout",
                    manifest.where,
                    f"the broker waits {timeout_s:g} s for an acknowledgement, TASK_TIMEOUT is {longest_s:g} s",
                    f"set it to {longest_s * 1000:.0f} (milliseconds) or more",
                )


def _timeouts_s(manifest: Manifest) -> Iterator[float]:
    match manifest.kind:
        case "RabbitmqCluster":
            texts = list(mapping(manifest.at("spec", "rabbitmq")).values())
        case "ConfigMap":
            texts = list(mapping(manifest.at("data")).values())
        case "Queue":
            texts = []
            given = number(manifest.at("spec", "arguments", "x-consumer-timeout"))
            yield from [] if given is None else [given / 1000]
        case "Policy" | "OperatorPolicy":
            texts = []
            given = number(manifest.at("spec", "definition", "consumer-timeout"))
            yield from [] if given is None else [given / 1000]
        case _:
            texts = []
    for text in texts:
        if isinstance(text, str):
            yield from (int(found) / 1000 for found in _IN_CONFIGURATION.findall(text))
