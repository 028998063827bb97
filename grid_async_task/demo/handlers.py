"""What a team writes: its TaskHandler. This one knows five kinds of task."""

from __future__ import annotations

import time
from typing import Any

from grid_async_task import Discard, TaskHandler


class DemoHandler(TaskHandler):
    """Pretends to work, step by step."""

    def execute(self, task_data: dict[str, Any]) -> Any:
        assert self.task_data is not None  # the whole message, while a task runs
        match self.task_data["task_type"]:
            case "report":
                return self.write_report(task_data["pages"])
            case "upload":
                return self.upload(task_data["file"])
            case "convert":
                return self.convert(task_data["file"])
            case "train":
                return self.train(task_data["epochs"])
            case "archive":
                return self.archive(task_data["files"])
            case unknown:
                raise Discard(f"there is no task type {unknown!r}")  # fails now: a retry would not help

    def validate_task_data(self, task_data: dict[str, Any]) -> bool:
        """Runs first; False fails the task at once, whatever retries are left."""
        return bool(task_data)

    def write_report(self, pages: int) -> dict[str, Any]:
        """The usual task: it reports how far it is, and returns a result."""
        for page in range(1, pages + 1):
            time.sleep(0.5)
            self.report_progress(100 * page / pages, f"page {page} of {pages}")
        return {"pages": pages}

    def upload(self, file: str) -> dict[str, Any]:
        """Fails at first. Any exception is a failed attempt, and is retried while retries are left."""
        self.report_progress(50, f"uploading {file}")
        time.sleep(1.0)
        if self.attempt == 1:
            raise ConnectionResetError("the storage hung up")
        return {"url": f"https://storage.example/{file}"}

    def convert(self, file: str) -> dict[str, Any]:
        """Never works: once its retries are used up, the people on call get a card."""
        self.report_progress(10, f"opening {file}")
        time.sleep(1.0)
        raise ValueError(f"{file} is not a document")

    def train(self, epochs: int) -> dict[str, Any] | None:
        """Takes for ever, and looks again and again whether somebody has cancelled it."""
        for epoch in range(epochs):
            self.report_progress(100 * epoch / epochs, f"epoch {epoch} of {epochs}")
            time.sleep(0.2)
            if self.cancelled:
                return None
        return {"epochs": epochs}

    def archive(self, files: int) -> dict[str, Any]:
        """Saves a checkpoint after each file. Should its worker die, the next one goes on from there."""
        first = (self.checkpoint or 0) + 1
        for file in range(first, files + 1):
            time.sleep(0.5)
            self.save_checkpoint(file)
            self.report_progress(100 * file / files, f"file {file} of {files}")
        return {"files": files, "attempt": self.attempt, "began_at_file": first}
