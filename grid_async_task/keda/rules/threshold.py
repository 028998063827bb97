"""`mode` and `value` that do not say how many messages one worker is for.

`MessageRate` and the like look at the traffic: with none, what waits in the queue wakes nobody. In a ScaledJob a
`value` above 1 lets tasks wait behind an hour-long one although a further Job would take them. All of a trigger's
metadata are texts: the API server refuses a bare number.

Source: https://keda.sh/docs/latest/scalers/rabbitmq-queue/; KEDA's CRDs (`metadata` holds strings only)
"""

from __future__ import annotations

from collections.abc import Iterator

from grid_async_task.keda.cluster import Cluster, Scaler, Trigger
from grid_async_task.keda.finding import Finding
from grid_async_task.keda.manifests import number


def check(cluster: Cluster) -> Iterator[Finding]:
    for scaler in cluster.scalers:
        for trigger in scaler.triggers:
            for text, advice in _mistakes(scaler, trigger):
                yield Finding("threshold", scaler.manifest.where, text, advice)


def _mistakes(scaler: Scaler, trigger: Trigger) -> Iterator[tuple[str, str]]:
    for name, given in trigger.metadata.items():
        if not isinstance(given, str):
            yield f"{name} is no text, and the API server takes nothing else", f'put it in quotes: {name}: "{given}"'
    if "queueLength" in trigger.metadata:
        return  # a rule of its own
    mode, value = trigger.metadata.get("mode"), number(trigger.metadata.get("value"))
    if mode != "QueueLength":
        given = f"mode is {mode}" if mode else "the trigger has no mode"
        yield f"{given}: messages that wait while none arrives start no worker", "write mode: QueueLength"
    if value is None or not value > 0:
        yield "value is no number above 0", 'write value: "1" for long tasks, more for short ones'
    elif scaler.is_job and value != 1:
        yield f"value is {value:g}: it is not one Job for each waiting task", 'write value: "1"'
