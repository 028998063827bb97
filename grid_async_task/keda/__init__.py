"""KEDA: manifests that fit how a worker behaves (`render`), and the known mistakes in others (`lint`).

The command line prints what is found and made here; nothing talks to a cluster.

    renderer.py       the manifests, from settings
    target.py         what the objects are called, and where their secrets are
    environment.py    settings as a container's variables
    trigger.py        what KEDA looks at, and the credentials for it
    recurring.py      the file of recurring tasks, in a ConfigMap and in the pods that need it
    sweep.py          the CronJob that sends those in the hours without a worker
    pod.py            the worker's pod, and the Job that runs `migrate`
    scaled_job.py     for long tasks: one Job a message
    scaled_object.py  for short tasks: a Deployment that grows and shrinks

    linter.py         all rules over some files
    rules/            one rule, one file: the mistake, why it is one, where that is written
    manifests.py      YAML files as manifests, whatever they hold
    cluster.py        which scaler has which pods, and what settings those have
"""

from __future__ import annotations

from grid_async_task.keda.finding import Finding
from grid_async_task.keda.linter import lint
from grid_async_task.keda.manifests import NotManifests, read_manifests
from grid_async_task.keda.renderer import render
from grid_async_task.keda.target import Mode, Target

__all__ = ["Finding", "Mode", "NotManifests", "Target", "lint", "read_manifests", "render"]
