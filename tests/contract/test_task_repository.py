"""Every repository of ours keeps the port's contract."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, make_url

from grid_async_task.adapters.memory import FakeClock, MemoryTaskRepository
from grid_async_task.adapters.sql import SqlTaskRepository
from grid_async_task.ports import TaskRepository
from grid_async_task.testing.contracts.grouped_tasks import GroupedTasksContract
from grid_async_task.testing.contracts.owed_tasks import OwedTasksContract
from grid_async_task.testing.contracts.task_repository import TaskRepositoryContract
from tests.servers.mariadb import MySqlServer

TIMES = {
    "grid_async_task_tasks": (
        "wake_at",
        "sweep_after",
        "created_at",
        "updated_at",
        "started_at",
        "completed_at",
    ),
    "grid_async_task_tasks_checkpoints": ("updated_at",),
    "grid_async_task_tasks_sweeps": ("swept_at",),
}


@contextmanager
def own_transaction(url: str) -> Iterator[Connection]:
    """As an application has it, with an engine of its own."""
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


class TestMemoryTaskRepository(GroupedTasksContract, TaskRepositoryContract):
    @pytest.fixture
    def repository(self) -> TaskRepository:
        self.clock = FakeClock()
        return MemoryTaskRepository(self.clock)

    def let_time_pass(self, seconds: float) -> None:
        self.clock.advance(seconds)


class TestMySqlTaskRepository(GroupedTasksContract, OwedTasksContract, TaskRepositoryContract):
    """On MySQL or MariaDB: time passes because all times in the tables move back."""

    @pytest.fixture
    def repository(self, mariadb: MySqlServer, mysql_url: str) -> Iterator[TaskRepository]:
        self.server, self.database, self.url = mariadb, make_url(mysql_url).database, mysql_url
        repository = SqlTaskRepository(mysql_url, max_overflow=8)
        repository.prepare()
        yield repository
        repository.close()

    def transaction(self) -> AbstractContextManager[Connection]:
        return own_transaction(self.url)

    def let_time_pass(self, seconds: float) -> None:
        for table, columns in TIMES.items():
            earlier = (f"{name} = TIMESTAMPADD(MICROSECOND, {-round(seconds * 1e6)}, {name})" for name in columns)
            self.server.execute(f"UPDATE {table} SET {', '.join(earlier)}", self.database)


class TestSqliteTaskRepository(OwedTasksContract, TaskRepositoryContract):
    @pytest.fixture
    def repository(self, tmp_path: Path) -> Iterator[TaskRepository]:
        self.file = tmp_path / "tasks.db"
        repository = SqlTaskRepository(f"sqlite:///{self.file}", max_overflow=8)
        repository.prepare()
        yield repository
        repository.close()

    def transaction(self) -> AbstractContextManager[Connection]:
        return own_transaction(f"sqlite:///{self.file}")

    def let_time_pass(self, seconds: float) -> None:
        def earlier(moment: str | None) -> str | None:
            if moment is None:
                return None
            moved = datetime.fromisoformat(moment) - timedelta(seconds=seconds)
            return moved.strftime("%Y-%m-%d %H:%M:%S.%f")

        with closing(sqlite3.connect(self.file, timeout=5)) as connection:
            connection.create_function("earlier", 1, earlier)
            for table, columns in TIMES.items():
                connection.execute(f"UPDATE {table} SET {', '.join(f'{name} = earlier({name})' for name in columns)}")
            connection.commit()
