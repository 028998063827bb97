"""Bringing the tables up to date, also when many processes start at once."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from grid_async_task.adapters.sql.database import Database
from grid_async_task.adapters.sql.errors import is_missing_table
from grid_async_task.adapters.sql.foreign_table import refuse_foreign_table
from grid_async_task.adapters.sql.tables import Tables
from grid_async_task.domain.errors import ConfigurationError
from grid_async_task.ports.errors import RepositoryUnavailable

#: the newest migration in `alembic/versions/`. Their numbers have four digits and only grow.
HEAD = "0003"

log = structlog.get_logger(__name__)

#: alembic keeps its context in global variables
_one_at_a_time = threading.Lock()


def bring_up_to_date(database: Database, tables: Tables) -> None:
    """One SELECT where there is nothing to do, as at nearly every start: alembic is not even imported then.

    Tables of a newer version are left as they are: migrations only add, so an older worker goes on beside them.
    """
    with database.connected() as connection:
        if _is_current(connection, tables):
            return
    with migration_lock(database, tables) as connection:
        if _is_current(connection, tables):
            return
        refuse_foreign_table(connection, tables)
        run_migrations(connection, tables)
    log.info("table migrated", table=tables.name, version=HEAD)


def applied_version(connection: Connection, tables: Tables) -> str | None:
    """The newest migration that the tables have seen; None where there are no tables."""
    try:
        versions = connection.execute(text(f"SELECT version_num FROM {tables.version_name}")).scalars().all()
    except DBAPIError as error:
        if is_missing_table(error):
            return None
        raise
    return max(versions, default=None)


def _is_current(connection: Connection, tables: Tables) -> bool:
    version = applied_version(connection, tables)
    return version is not None and version >= HEAD


@contextmanager
def migration_lock(database: Database, tables: Tables) -> Iterator[Connection]:
    """One process at a time. SQLite locks by a transaction; on MySQL DDL knows none, so a named lock is taken."""
    if not database.is_mysql:
        with database.transaction() as connection:
            yield connection
        return
    # locks are the server's, not the database's: hence its name, and a digest because 64 characters are allowed
    of_what = f"{database.url.database}.{tables.name}".encode()
    name = {"name": f"grid_async_task:{hashlib.sha256(of_what).hexdigest()[:32]}"}
    with database.connected() as connection:
        wait_s = max(1, int(database.answer_timeout_s) - 1)  # the server answers before we stop listening
        if connection.execute(text(f"SELECT GET_LOCK(:name, {wait_s})"), name).scalar() != 1:
            raise RepositoryUnavailable(f"another process is migrating {tables.name}")
        # an ALTER that waits for a reader lets nobody else to the table, running workers included: 1 s, then again
        connection.execute(text("SET SESSION lock_wait_timeout=1"))
        try:
            yield connection
        except BaseException:
            # the lock ends with its connection, whatever state that is in
            connection.invalidate()
            raise
        connection.execute(text("SET SESSION lock_wait_timeout=DEFAULT"))
        connection.execute(text("SELECT RELEASE_LOCK(:name)"), name)


def run_migrations(connection: Connection, tables: Tables) -> None:
    """For the holder of `migration_lock`. Each migration may be run again on tables that have it already."""
    from alembic.config import Config

    from alembic import command

    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    config.attributes.update(connection=connection, tables=tables)
    with _one_at_a_time:
        command.upgrade(config, "head")


def migrations_folder() -> Path:
    """Inside an installed package, else beside it in the checkout, where everybody looks for it."""
    package = Path(__file__).parents[2]
    for folder in (package / "_alembic", package.parent / "alembic"):
        if (folder / "env.py").is_file():
            return folder
    raise ConfigurationError(f"the migrations are missing: there is no _alembic in {package}; install the package anew")
