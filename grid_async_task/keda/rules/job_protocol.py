"""A ScaledJob whose strategy does not fit what its trigger counts.

`accurate` starts a Job for every message that is counted, less the Jobs still pending. Over `http` the messages of
running tasks are counted too: every running task would start one more Job, again and again. `default` takes the
running Jobs off what is counted; over `amqp`, which sees waiting messages only, five running tasks then keep five
waiting ones from starting.

Source: https://keda.sh/docs/latest/reference/scaledjob-spec/#scalingstrategy,
https://github.com/kedacore/keda/blob/main/pkg/scaling/executor/scale_jobs.go
"""

from __future__ import annotations

from collections.abc import Iterator

from grid_async_task.keda.cluster import Cluster
from grid_async_task.keda.finding import Finding


def check(cluster: Cluster) -> Iterator[Finding]:
    for scaler in cluster.scaled_jobs:
        strategy = scaler.manifest.at("spec", "scalingStrategy", "strategy") or "default"
        for trigger in scaler.triggers:
            match strategy, trigger.counts_unacknowledged:
                case "accurate", True:
                    text = "strategy accurate over http counts running tasks too, and starts Jobs for them"
                    advice = "write protocol: amqp (with an amqp:// host)"
                case "default", False:
                    text = "strategy default takes running Jobs off the waiting messages, which then wait for them"
                    advice = "write scalingStrategy.strategy: accurate"
                case _:
                    continue
            yield Finding("job-protocol", scaler.manifest.where, text, advice)
