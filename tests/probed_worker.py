"""A worker that answers probes, and loses its patience sooner than in earnest."""

from __future__ import annotations

import http.client
import json
import sys
from typing import Any

from tests.servers.ports import free_port
from tests.worker_process import WorkerProcess
from tests.worker_site import Site

_PROGRAM = """
import sys
from importlib import import_module
from grid_async_task import TaskProcessor
from grid_async_task.application import health, vital_signs
health.SILENT_AFTER_S = float(sys.argv[2])
vital_signs.LOOK_EVERY_S = 0.3
module, _, name = sys.argv[1].partition(":")
TaskProcessor(getattr(import_module(module), name)()).start()
"""


class ProbedWorker:
    def __init__(self, site: Site, handler: str, *, silent_after_s: float, **settings: Any) -> None:
        self.port = free_port()
        command = [sys.executable, "-c", _PROGRAM, handler, str(silent_after_s)]
        self.process: WorkerProcess = site.worker(command=command, health_port=self.port, **settings)

    def ask(self, question: str) -> set[str] | None:
        """The parts that are not well; None without an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", f"/{question}")
            response = connection.getresponse()
            checks = json.loads(response.read())["checks"]
        except OSError:
            return None
        finally:
            connection.close()
        self.said = checks
        wrong = {name for name, problem in checks.items() if problem != "ok"}
        assert (response.status == 200) == (not wrong)
        return wrong

    def is_well(self) -> bool:
        return self.ask("ready") == self.ask("live") == set()
