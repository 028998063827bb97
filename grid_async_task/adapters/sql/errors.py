"""What the database's errors mean to us (SPEC section 4): wait, give the value up, or ask a person."""

from __future__ import annotations

import sqlite3

import pymysql
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from grid_async_task.domain.errors import ConfigurationError, GridAsyncTaskError
from grid_async_task.domain.failure import shown
from grid_async_task.ports.errors import DataRefused, RepositoryUnavailable

#: what SQLAlchemy, the drivers under it and a value that has no encoding raise
LIBRARY_ERRORS = (SQLAlchemyError, pymysql.MySQLError, sqlite3.Error, OSError, UnicodeEncodeError, OverflowError)

#: those of them that may say "there is such a row already"
INTEGRITY_ERRORS = (pymysql.IntegrityError, sqlite3.IntegrityError)

#: errors about the very value; everything that is not here may pass, and is tried again
DATA_ERRORS = frozenset(
    {
        1118,  # the row is too large
        1153,  # larger than max_allowed_packet
        1264,  # a number out of range
        1265,  # cut off: not a value of the ENUM
        1292,  # not a date
        1300,  # not valid in this character set
        1366,  # the same, for a column
        1406,  # too long for its column
        3140,  # no valid JSON
        3150,  # JSON with a value too large for its binary form (MySQL)
        3151,  # JSON with a key of more than 65,535 bytes (MySQL)
        3157,  # JSON nested too deeply (MySQL)
        3819,  # a check failed (MySQL)
        3988,  # no conversion between the character sets
        4025,  # a check failed (MariaDB)
    }
)

_EXPIRED = "the user's password has expired: set a new one"
_LOCKED = "the user's account is locked: unlock it or use another user"

#: errors that only a person can mend, if they come at the first connection; later they are an outage like others
SETUP_ERRORS = {
    1044: "grant the user rights on this database",
    1045: "check the user and the password in MYSQL_URL",
    1049: "create the database that MYSQL_URL names",
    1130: "let the user log in from this host",
    1142: "grant the user the rights to create, alter, read and write the tables",
    1698: "this user may not log in with a password; give it one or use another user",
    1820: _EXPIRED,
    1862: _EXPIRED,
    3118: _LOCKED,  # MySQL
    3159: "the server takes TLS only: add ssl_ca=FILE, its CA, to the parameters of MYSQL_URL",
    4151: _LOCKED,  # MariaDB
}

#: this connection won't get better: after a failover it still leads to the old server, now read-only, going down
#: or cut off from its cluster (1047 of Galera)
GONE_WITH_THE_CONNECTION = frozenset({1047, 1053, 1153, 1290, 1792, 1836, 1927, 3169})

DUPLICATE_KEY = 1062
NO_SUCH_TABLE = 1146


def translated(error: BaseException, *, has_worked: bool) -> GridAsyncTaskError:
    """The port's error for one of `LIBRARY_ERRORS`. `has_worked`: this database has been used with success before."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    code = mysql_code(error)
    if code in DATA_ERRORS or isinstance(cause, (UnicodeEncodeError, OverflowError, sqlite3.DataError)):
        return DataRefused(f"the database can't hold this value: {_text(cause)}")
    if not has_worked:
        if code in SETUP_ERRORS:
            return ConfigurationError(f"the database refuses to work with us: {_text(cause)}; {SETUP_ERRORS[code]}")
        if isinstance(cause, sqlite3.Error) and _says(cause, "unable to open", "not a database"):
            return ConfigurationError(f"the SQLite file can't be used: {cause}; check its path and its rights")
    return RepositoryUnavailable(f"the database could not answer: {_text(cause)}")


def breaks_the_connection(error: BaseException) -> bool:
    """Whether to give up this connection, beyond what SQLAlchemy recognises itself."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    # InternalError: client and server disagree about where in their talk they are
    return mysql_code(error) in GONE_WITH_THE_CONNECTION or isinstance(cause, pymysql.InternalError)


def is_duplicate(error: BaseException) -> bool:
    """A row with this primary key exists; the tables have no other unique key."""
    return mysql_code(error) == DUPLICATE_KEY or _says(error, "UNIQUE constraint failed")


def is_missing_table(error: DBAPIError) -> bool:
    return mysql_code(error) == NO_SUCH_TABLE or _says(error.orig, "no such table")


def mysql_code(error: BaseException | None) -> int | None:
    """The number of a MySQL or MariaDB error, or of PyMySQL's own."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, pymysql.MySQLError) and cause.args and isinstance(cause.args[0], int):
        return cause.args[0]
    return None


def _says(error: BaseException | None, *texts: str) -> bool:
    return isinstance(error, sqlite3.Error) and any(text in str(error) for text in texts)


def _text(error: BaseException) -> str:
    return shown(f"{type(error).__name__}{error.args if len(error.args) > 1 else f'({error})'}")
