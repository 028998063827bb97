"""Manifests from settings, as text: each object with a comment that says what it is for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import yaml

from grid_async_task.keda import scaled_job, scaled_object
from grid_async_task.keda.environment import key_of, secrets
from grid_async_task.keda.pod import migrate_job, probed_settings
from grid_async_task.keda.recurring import RecurringFile
from grid_async_task.keda.sweep import sweep_cron_job
from grid_async_task.keda.target import Mode, Target
from grid_async_task.settings import Settings

_MANAGEMENT_URL = {scaled_object.MANAGEMENT_URL_KEY: "http://user:password@rabbitmq:15672/"}
#: what somebody has to type in place of the secrets, which are not printed
_EXAMPLES = {
    "amqp-url": "amqp://user:password@rabbitmq:5672/",
    "mysql-url": "mysql+pymysql://user:password@mysql:3306/task_db?charset=utf8mb4",
}


def render(settings: Settings, mode: Mode, target: Target) -> str:
    """YAML for `kubectl apply -f -`. Holds no secrets: those are in a Secret that its first lines say how to make.

    Raises `ConfigurationError` where the queue is missing, the mode does not fit the tasks, or the file of recurring
    tasks can't be read.
    """
    settings.require("rabbitmq_queue")
    recurring = None if settings.recurring is None else RecurringFile.read(settings.recurring)
    # a path of this machine, which no pod has
    settings = replace(probed_settings(settings), recurring=None)
    of_mode = _for_long_tasks if mode is Mode.SCALED_JOB else _for_short_tasks
    first, *others = of_mode(settings, target, recurring)
    # the file comes before the workers: new ones would read the old file
    parts = [first, *_for_recurring_tasks(settings, target, recurring), *others]
    return "---\n".join(_commented(comment) + _yaml(content) for comment, content in parts)


def _for_long_tasks(
    settings: Settings, target: Target, recurring: RecurringFile | None
) -> Iterator[tuple[str, dict[str, Any]]]:
    settings = scaled_job.scaled_job_settings(settings)
    yield _first_steps(settings, target, {}), migrate_job(settings, target)
    yield "What KEDA needs to look at the queue.", scaled_job.authentication(target)
    comment = "For long tasks: a Job for each waiting message, which ends when there is nothing to do."
    yield comment, scaled_job.scaled_job(settings, target, recurring)


def _for_short_tasks(
    settings: Settings, target: Target, recurring: RecurringFile | None
) -> Iterator[tuple[str, dict[str, Any]]]:
    settings = scaled_object.scaled_object_settings(settings)
    yield _first_steps(settings, target, _MANAGEMENT_URL), migrate_job(settings, target)
    yield "What KEDA needs to look at the queue.", scaled_object.authentication(target)
    comment = f"For short tasks: one that takes more than {settings.shutdown_grace:g} s is handed back when KEDA\n"
    comment += "removes its worker, and begins anew elsewhere."
    yield comment, scaled_object.deployment(settings, target, recurring)
    yield "How many workers there are.", scaled_object.scaled_object(settings, target)


def _for_recurring_tasks(
    settings: Settings, target: Target, recurring: RecurringFile | None
) -> Iterator[tuple[str, dict[str, Any]]]:
    if recurring is not None:
        yield "The file that RECURRING names, for workers and the sweep.", recurring.config_map(target)
        # else nothing would send what is due while there is no worker
        yield "Looks for what is due, in the hours without a worker.", sweep_cron_job(settings, target, recurring)


def _first_steps(settings: Settings, target: Target, more_keys: dict[str, str]) -> str:
    namespace = f" --namespace {target.namespace}" if target.namespace else ""
    keys = {key: _EXAMPLES.get(key, "...") for key in map(key_of, secrets(settings))} | more_keys
    return "\n".join(
        [
            "Before this is applied, the Secret has to be there:",
            f"  kubectl create secret generic {target.secret}{namespace} \\",
            *(f"    --from-literal='{key}={value}' \\" for key, value in keys.items()),
            "    --dry-run=client --output yaml | kubectl apply -f -",
            "",
            "Makes table and queues: KEDA can't look at a queue that is not there. A Job can't be changed: this one",
            "vanishes 10 minutes after its end, or by kubectl delete job.",
        ]
    )


def _commented(text: str) -> str:
    return "".join(f"# {line}".rstrip() + "\n" for line in text.splitlines())


def _yaml(content: dict[str, Any]) -> str:
    text: str = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)
    return text


class _Dumper(yaml.SafeDumper):
    """Writes what occurs twice twice; Kubernetes reads anchors, people do not. A file is written line by line."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _Dumper.represent_text)
