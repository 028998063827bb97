"""Reading the database's URL."""

from __future__ import annotations

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from grid_async_task.domain.errors import ConfigurationError

FORMS = "mysql+pymysql://user:password@host:3306/database?charset=utf8mb4 or sqlite:///FILE"


def read_url(text: str) -> URL:
    """The URL, with the driver that we bring along; raises `ConfigurationError`, without the password."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # from None: the library's text may hold the URL as it is
        raise ConfigurationError(f"the database URL can't be read; it has the form {FORMS}") from None
    kind = url.get_backend_name()
    if kind in ("mysql", "mariadb"):
        if not url.database:
            raise ConfigurationError(f"the database URL {_masked(url)} names no database; it has the form {FORMS}")
        # MariaDB is recognised by what its server says, so one driver name serves both
        return url.set(drivername="mysql+pymysql")
    if kind == "sqlite":
        if not url.database or url.database == ":memory:":
            raise ConfigurationError("a SQLite database has to be a file that several processes share: sqlite:///FILE")
        return url.set(drivername="sqlite+pysqlite")
    raise ConfigurationError(f"the database URL {_masked(url)} is of an unknown kind; it has the form {FORMS}")


def _masked(url: URL) -> str:
    return url.render_as_string(hide_password=True)
