"""The CronJob that looks for what is due, and for what the broker has lost, in the hours without a worker."""

from __future__ import annotations

from typing import Any

from grid_async_task.keda.pod import pod_template
from grid_async_task.keda.recurring import RecurringFile
from grid_async_task.keda.target import Target
from grid_async_task.settings import Settings

#: seconds that one look may take, and by which it may begin late
LONGEST_S = 300


def sweep_cron_job(settings: Settings, target: Target, recurring: RecurringFile) -> dict[str, Any]:
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": target.metadata(f"{target.name}-sweep"),
        "spec": {
            "schedule": "*/10 * * * *",
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": LONGEST_S,
            "successfulJobsHistoryLimit": 1,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {
                "spec": {
                    "backoffLimit": 0,
                    "activeDeadlineSeconds": LONGEST_S,
                    "template": pod_template(
                        settings, target, restart="Never", command=["grid-async-task", "sweep"], recurring=recurring
                    ),
                },
            },
        },
    }
