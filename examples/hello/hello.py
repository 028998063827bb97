"""The smallest handler. `python hello.py World` sends a task, runs it and shows what became of it."""

from __future__ import annotations

import sys
from typing import Any

from grid_async_task import TaskClient, TaskHandler, TaskProcessor, TaskProducer


class Hello(TaskHandler):
    def execute(self, task_data: dict[str, Any]) -> Any:
        self.report_progress(50, "thinking of a greeting")
        return {"greeting": f"Hello, {task_data['name']}!"}


if __name__ == "__main__":
    with TaskProducer() as producer:
        task_id = producer.send_task({"data": {"name": sys.argv[1] if len(sys.argv) > 1 else "World"}})
    TaskProcessor(Hello()).start()  # returns once there has been nothing to do for IDLE_TIMEOUT seconds
    if task := TaskClient().get_task(task_id):
        print(task.status.value, task.progress.percent, task.result)
