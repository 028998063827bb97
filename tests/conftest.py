"""Fixtures for all tests. Servers are started on demand, once a session, on free ports (see tests/servers/)."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite("grid_async_task.testing.contracts")

# how long an example takes says how loaded the machine is
settings.register_profile("timeless", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("timeless")


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Whatever a test has configured in this process, the next one begins as a fresh program does."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    if not structlog.is_configured():
        return
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level
    for name, module in sys.modules.items():
        if name.startswith("grid_async_task"):
            # where loggers are cached on first use, the cache lies in the logger itself
            getattr(getattr(module, "log", None), "__dict__", {}).pop("bind", None)


pytest_plugins = ["tests.servers.broken_server", "tests.servers.mariadb", "tests.servers.rabbitmq"]
