"""Where alembic gets its connection and the name of the table from: the worker that called it, or the environment."""

from __future__ import annotations

import os

from sqlalchemy import Connection

from alembic import context
from grid_async_task.adapters.sql.database import Database
from grid_async_task.adapters.sql.foreign_table import refuse_foreign_table
from grid_async_task.adapters.sql.migrations import migration_lock
from grid_async_task.adapters.sql.tables import Tables, tables_named


def migrate(connection: Connection, tables: Tables) -> None:
    # made here, because alembic would take the database's own character set
    connection.execute(tables.create_versions)
    context.configure(connection=connection, version_table=tables.version_name, table_name=tables.name)
    context.run_migrations(table_name=tables.name, there=connection)


def migrate_by_hand() -> None:
    """The same way a worker goes, lock included."""
    url = os.environ.get("GRID_ASYNC_TASK_MYSQL_URL")
    if not url:
        raise SystemExit("set GRID_ASYNC_TASK_MYSQL_URL to the database that is to be migrated")
    prefix = os.environ.get("GRID_ASYNC_TASK_TABLE_PREFIX") or "grid_async_task_"
    name = os.environ.get("GRID_ASYNC_TASK_TABLE_NAME") or "tasks"
    tables = tables_named(prefix + name)
    database = Database(url, pool_size=1, max_overflow=0, pool_timeout_s=10, pool_recycle_s=-1, answer_timeout_s=30)
    try:
        with migration_lock(database, tables) as connection:
            refuse_foreign_table(connection, tables)
            migrate(connection, tables)
    finally:
        database.close()


if "connection" in context.config.attributes:
    migrate(context.config.attributes["connection"], context.config.attributes["tables"])
elif context.is_offline_mode():
    raise SystemExit("the statements depend on the server and its tables; see them by: grid-async-task migrate --sql")
else:
    migrate_by_hand()
