"""Which servers and files the settings name, as things to look at; `memory://` has nothing to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grid_async_task.application.dead_letters import SUFFIX
from grid_async_task.ports import Inspector
from grid_async_task.settings import Settings

if TYPE_CHECKING:
    from grid_async_task.adapters.sql.inspection import SqlInspector


def inspectors(settings: Settings) -> list[Inspector]:
    """The broker, then the database."""
    return [inspector for inspector in (_of_the_broker(settings), of_the_database(settings)) if inspector is not None]


def of_the_database(settings: Settings) -> SqlInspector | None:
    mysql_url = str(settings.mysql_url)
    if mysql_url.startswith("memory:"):
        return None
    from grid_async_task.adapters.sql.inspection import SqlInspector

    largest = max(settings.message_max_bytes, settings.result_max_bytes)
    return SqlInspector(mysql_url, table=settings.table, largest_value_bytes=largest)


def _of_the_broker(settings: Settings) -> Inspector | None:
    amqp_url, queue = str(settings.amqp_url), str(settings.queue)
    if amqp_url.startswith("sqlite:"):
        from grid_async_task.adapters.embedded.inspection import EmbeddedInspector

        return EmbeddedInspector(amqp_url, queue, queue + SUFFIX)
    if amqp_url.startswith("amqp"):
        from grid_async_task.adapters.rabbitmq.inspection import RabbitInspector

        return RabbitInspector(amqp_url, queue, queue + SUFFIX)
    return None
