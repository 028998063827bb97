"""A worker: all that it takes to run a handler. Its settings come from the environment."""

from __future__ import annotations

from grid_async_task import TaskProcessor
from grid_async_task.demo.handlers import DemoHandler

if __name__ == "__main__":
    TaskProcessor(DemoHandler()).start()
