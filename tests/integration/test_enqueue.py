"""Enqueueing within an application's transaction on real servers, also by an application that is killed after it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.orm import Session

from grid_async_task import ConfigurationError, TaskHandler, TaskProducer, adapter_choice
from tests.cli_site import ROOT, Site
from tests.servers.mariadb import MySqlServer
from tests.servers.rabbitmq import new_queue_name
from tests.waiting import eventually


@pytest.fixture
def site(amqp_url: str, mysql_url: str, tmp_path: Path) -> Site:
    site = Site(tmp_path, amqp_url, mysql_url, new_queue_name())
    assert site.program("migrate").returncode == 0
    return site


@pytest.fixture
def engine(site: Site) -> Iterator[Engine]:
    """The application's own, with SQLAlchemy's defaults: REPEATABLE READ and a table of its own."""
    engine = create_engine(site.mysql_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE orders (id INT PRIMARY KEY)"))
    yield engine
    engine.dispose()


def statuses(site: Site) -> dict[str, str]:
    listed: list[dict[str, Any]] = json.loads(site.program("list", "--json").stdout)
    return {task["task_id"]: task["status"] for task in listed}


def test_orders_and_their_tasks_are_committed_together(site: Site, engine: Engine) -> None:
    with TaskProducer(settings=site.settings()) as producer:
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO orders VALUES (1)"))
            producer.enqueue(connection, {"task_id": "order-1", "data": {"number": 1}})
        with Session(engine) as session:
            session.execute(text("INSERT INTO orders VALUES (2)"))
            producer.enqueue(session, {"data": {"number": 2}}, task_id="order-2")
            session.commit()
            session.execute(text("INSERT INTO orders VALUES (3)"))
            producer.enqueue(session, {"task_id": "order-3", "data": {"number": 3}})
            session.rollback()
        publisher = adapter_choice.open_publisher(site.settings())
        eventually(lambda: publisher.declare(site.queue).ready == 2)
        publisher.close()
    site.work()
    assert statuses(site) == {"order-1": "success", "order-2": "success"}
    assert sweep(site) == 0


def test_an_uncommitted_task_can_be_seen_by_nobody(site: Site, engine: Engine) -> None:
    with TaskProducer(settings=site.settings()) as producer, engine.connect() as connection:
        producer.enqueue(connection, {"task_id": "t", "data": {"number": 1}})
        assert statuses(site) == {}
        # other transactions go on beside it
        producer.send_task({"task_id": "u", "data": {"number": 1}})
        site.work()
        assert statuses(site) == {"u": "success"}
        connection.commit()
    site.work()
    assert statuses(site) == {"t": "success", "u": "success"}


APPLICATION = """
import os, sys
from sqlalchemy import create_engine, text
from grid_async_task import TaskProducer

producer = TaskProducer()
with create_engine(os.environ["GRID_ASYNC_TASK_MYSQL_URL"]).connect() as connection:
    connection.execute(text("INSERT INTO orders VALUES (1)"))
    delay = float(sys.argv[2])
    producer.enqueue(connection, {"task_id": "t", "data": {"number": 1}}, delay=delay)
    if sys.argv[1] == "after":
        connection.commit()
    os._exit(9)
"""


def application_dies(site: Site, when: str, delay_s: float = 0.0) -> None:
    """Before or after its commit, and before anything is published."""
    (site.directory / "application.py").write_text(APPLICATION, encoding="utf-8")
    away = {"GRID_ASYNC_TASK_AMQP_URL": "amqp://127.0.0.1:1/"}
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **site.variables, **away}
    died = subprocess.run(
        [sys.executable, "application.py", when, str(delay_s)],
        cwd=site.directory,
        env=environment,
        capture_output=True,
        timeout=60,
    )
    assert died.returncode == 9, died.stderr


def sweep(site: Site) -> int:
    said = json.loads(site.program("sweep", "--json").stdout)
    assert said["swept"], "the last sweep is too young"
    return int(said["published"])


@pytest.mark.parametrize(("when", "expected"), [("before", {}), ("after", {"t": "success"})])
def test_an_application_that_dies_around_its_commit(
    site: Site, engine: Engine, when: str, expected: dict[str, str]
) -> None:
    application_dies(site, when)
    # what the CronJob does, with no worker alive
    assert sweep(site) == len(expected)
    site.work()
    assert statuses(site) == expected


def test_an_application_that_dies_after_enqueueing_for_later(site: Site, engine: Engine) -> None:
    application_dies(site, "after", delay_s=3600)
    assert sweep(site) == 0
    assert statuses(site) == {"t": "pending"}
    with engine.begin() as connection:
        # an hour passes
        connection.execute(text("UPDATE grid_async_task_tasks SET wake_at = wake_at - INTERVAL 1 HOUR"))
        connection.execute(text("UPDATE grid_async_task_tasks_sweeps SET swept_at = swept_at - INTERVAL 1 HOUR"))
    assert sweep(site) == 1
    site.work()
    assert statuses(site) == {"t": "success"}


def test_a_task_for_later_waits_in_the_delay_queues(site: Site, engine: Engine) -> None:
    began: list[datetime] = []

    class Noting(TaskHandler):
        def execute(self, task_data: dict[str, Any]) -> Any:
            began.append(datetime.now(timezone.utc))

    committed = datetime.now(timezone.utc)
    with TaskProducer(settings=site.settings()) as producer, engine.begin() as connection:
        connection.execute(text("INSERT INTO orders VALUES (1)"))
        producer.enqueue(connection, {"task_id": "t"}, delay=2)
    with engine.connect() as connection:
        columns = (
            "status, TIMESTAMPDIFF(MICROSECOND, created_at, wake_at), TIMESTAMPDIFF(MICROSECOND, wake_at, sweep_after)"
        )
        row = connection.execute(text(f"SELECT {columns} FROM grid_async_task_tasks")).one()
    status, delay_us, left_alone_us = row
    assert (status, left_alone_us) == ("pending", 900_000_000)
    assert 1_900_000 <= delay_us <= 2_000_000
    # were the message not in the delay queues, the worker would leave before its own first sweep
    site.work(Noting(), idle_timeout=5)
    assert statuses(site) == {"t": "success"}
    assert (began[0] - committed).total_seconds() >= 1.9


def test_a_priority_goes_with_the_message(site: Site, engine: Engine) -> None:
    with TaskProducer(settings=site.settings()) as producer, engine.begin() as connection:
        producer.enqueue(connection, {"task_id": "t"}, priority=5)
    (delivery,) = site.take_all()
    assert delivery.properties["priority"] == 5


def test_another_database_is_refused(site: Site, mariadb: MySqlServer) -> None:
    other = mariadb.new_database()
    engine = create_engine(mariadb.url(other))
    name = make_url(site.mysql_url).database
    with TaskProducer(settings=site.settings()) as producer, engine.connect() as connection:
        with pytest.raises(ConfigurationError, match=f"is in the MySQL database {other}, MYSQL_URL leads to.* {name}"):
            producer.enqueue(connection, {"task_id": "t"})
        mariadb.execute("DROP TABLE grid_async_task_tasks", name)
        connection.execute(text(f"USE {name}"))
        with pytest.raises(ConfigurationError, match="grid-async-task migrate"):
            producer.enqueue(connection, {"task_id": "t"})
    engine.dispose()
    mariadb.drop_database(other)
