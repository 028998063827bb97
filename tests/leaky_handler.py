"""A handler that is careless with the passwords of its installation, as handlers are."""

from __future__ import annotations

import logging
import os
from typing import Any
from urllib.parse import unquote, urlsplit

from grid_async_task import TaskHandler

BROKER, DATABASE = "GRID_ASYNC_TASK_AMQP_URL", "GRID_ASYNC_TASK_MYSQL_URL"


class LoginFailed(Exception):
    """As drivers raise it: it names the URL."""


class Leaky(TaskHandler):
    def execute(self, task_data: dict[str, Any]) -> Any:
        log = logging.getLogger("app")
        for name in (BROKER, DATABASE):
            url = os.environ[name]
            log.info("connecting to %s", url)
            log.info("with the password %s", unquote(urlsplit(url).password or ""), extra={"url": url})
        if "fails" in task_data:
            try:
                raise OSError(f"no route to {os.environ[BROKER]}")
            except OSError as error:
                raise LoginFailed(f"can't log in at {os.environ[DATABASE]}") from error
        return {"done": True}

    def on_task_error(self, error: Exception) -> None:
        raise RuntimeError(f"it failed: {error}; {os.environ[DATABASE]}")
