"""The query API on MariaDB."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import make_url

from grid_async_task import Settings, adapter_choice
from tests.servers.mariadb import MySqlServer
from tests.unit.test_client import ClientOnATable, Site


class TestOnMariaDb(ClientOnATable):
    @pytest.fixture
    def site(self, mariadb: MySqlServer, mysql_url: str) -> Iterator[Site]:
        table = adapter_choice.open_repository(Settings(mysql_url=mysql_url))

        def age(task_ids: str, days: float) -> None:
            earlier = f"INTERVAL {days * 86400:.0f} SECOND"
            mariadb.execute(
                f"UPDATE grid_async_task_tasks SET created_at = created_at - {earlier}, "
                f"completed_at = completed_at - {earlier} WHERE id LIKE '{task_ids}'",
                make_url(mysql_url).database,
            )

        yield Site(table, age)
        table.close()
