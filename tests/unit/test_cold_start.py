"""What a worker's cold start does not load: each of these took a good part of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

_STARTS_A_WORKER = """
import sys
from grid_async_task.cli import main
sys.argv[1:] = ["worker", "--handler", "tests.unit.test_cold_start:stops_here"]
try:
    main()
except SystemExit as leaving:
    assert leaving.code == 2, leaving.code  # that is no handler
import pymysql, grid_async_task.adapters.sql, grid_async_task.adapters.rabbitmq, grid_async_task.processor
print(*sys.modules)
import gc, rich.table, structlog
assert gc.isenabled() and gc.get_freeze_count() > 1000
structlog.dev.ConsoleRenderer()
"""
stops_here = "no handler"


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    settings = {"AMQP_URL": "memory://", "MYSQL_URL": "memory://", "QUEUE": "q", "LOG_DIR": "/dev/null/none"}
    done = subprocess.run(
        [sys.executable, "-c", _STARTS_A_WORKER],
        env={"PYTHONPATH": ".", **{f"GRID_ASYNC_TASK_{name}": value for name, value in settings.items()}},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "module",
    [
        *("alembic", "dotenv", "requests", "rich", "sqlalchemy.dialects.sqlite", "sqlalchemy.orm"),
        *("grid_async_task.adapters.memory", "grid_async_task.adapters.feishu", "grid_async_task.adapters.embedded"),
        *("opentelemetry.trace", "opentelemetry.sdk", "prometheus_client"),
        *("grid_async_task.cli.migrate", "grid_async_task.keda", "grid_async_task.protocol", "grid_async_task.demo"),
    ],
)
def test_not_loaded_by_a_worker_s_start(module: str, loaded: set[str]) -> None:
    assert module not in loaded


def test_loaded_by_a_worker_s_start(loaded: set[str]) -> None:
    assert {"pika", "pymysql", "sqlalchemy", "structlog", "grid_async_task.bootstrap"} <= loaded
