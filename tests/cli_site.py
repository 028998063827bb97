"""An installation for the command line: its settings as variables, a queue, and messages put on it by others."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grid_async_task import Settings, TaskHandler, adapter_choice, bootstrap
from grid_async_task.ports import Delivery, OutgoingMessage

ROOT = Path(__file__).parents[1]


@dataclass
class Site:
    directory: Path
    amqp_url: str
    mysql_url: str
    queue: str
    more: dict[str, str] = field(default_factory=dict)

    @property
    def variables(self) -> dict[str, str]:
        return {
            "GRID_ASYNC_TASK_AMQP_URL": self.amqp_url,
            "GRID_ASYNC_TASK_MYSQL_URL": self.mysql_url,
            "GRID_ASYNC_TASK_QUEUE": self.queue,
            "GRID_ASYNC_TASK_LOG_DIR": str(self.directory / "logs"),
            "GRID_ASYNC_TASK_PUBLISH_TIMEOUT": "10",
            **{f"GRID_ASYNC_TASK_{name}": value for name, value in self.more.items()},
        }

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """The real program, in a process of its own, with the site's folder as its working directory."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("GRID_ASYNC_TASK_")}
        return subprocess.Popen(
            [sys.executable, "-m", "grid_async_task.cli", *arguments],
            env={**inherited, "PYTHONPATH": str(ROOT), **self.variables},
            cwd=self.directory,
            stdin=options.pop("stdin", subprocess.PIPE),
            stdout=options.pop("stdout", subprocess.PIPE),
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            **options,
        )

    def program(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        output, errors = process.communicate(stdin, timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    def settings(self, **overrides: Any) -> Settings:
        return Settings(amqp_url=self.amqp_url, mysql_url=self.mysql_url, queue=self.queue, **overrides)

    def publish(self, *bodies: bytes, **properties: Any) -> None:
        publisher = adapter_choice.open_publisher(self.settings())
        try:
            publisher.declare(self.queue)
            for body in bodies:
                publisher.publish(OutgoingMessage(self.queue, body, properties=properties))
        finally:
            publisher.close()

    def work(self, handler: TaskHandler | None = None, **overrides: Any) -> None:
        """A worker of this very process, until nothing is left to do."""
        settings = self.settings(**{"idle_timeout": 1.5, **overrides})
        bootstrap.create_worker(handler or Doubling(), settings=settings).run()

    def take_all(self, queue: str | None = None) -> list[Delivery]:
        """What is on a queue; it is gone afterwards, as by a purge."""
        settings = Settings(amqp_url=self.amqp_url, queue=queue or self.queue, prefetch_count=100)
        publisher = adapter_choice.open_publisher(settings)
        ready = publisher.declare(settings.queue).ready
        publisher.close()
        source = adapter_choice.open_source(settings)
        taken: list[Delivery] = []
        try:
            while (delivery := source.next(30.0 if len(taken) < ready else 1.0)) is not None:
                taken.append(delivery)
                source.ack(delivery)
        finally:
            source.close()
        return taken


class Doubling(TaskHandler):
    def execute(self, task_data: dict[str, Any]) -> Any:
        if task_data.get("fails"):
            raise RuntimeError("it can't be doubled")
        return {"doubled": task_data["number"] * 2}
