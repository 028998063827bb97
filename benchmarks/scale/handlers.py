"""What the real workers run."""

from __future__ import annotations

import time
from typing import Any

from grid_async_task import TaskHandler


class Sleeper(TaskHandler):
    """Uses no processor, for as long as the task says."""

    def execute(self, task_data: dict[str, Any]) -> Any:
        if task_data["seconds"]:
            time.sleep(task_data["seconds"])
