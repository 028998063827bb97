"""Looking at the database before workers depend on it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, text

from grid_async_task.adapters.sql.database import Database
from grid_async_task.adapters.sql.foreign_table import refuse_foreign_table
from grid_async_task.adapters.sql.migration_plan import PlannedMigration, pending_migrations
from grid_async_task.adapters.sql.migrations import HEAD, applied_version
from grid_async_task.adapters.sql.rights import lacking_to_migrate, lacking_to_work
from grid_async_task.adapters.sql.tables import tables_named
from grid_async_task.domain.errors import ConfigurationError, GridAsyncTaskError
from grid_async_task.ports.inspector import Finding, Inspector, Level, Missing

#: seconds after which a server that says nothing is not worth waiting for
ANSWER_TIMEOUT_S = 10.0
#: seconds that the database's clock and this machine's may differ before it is worth a word
CLOCK_TOLERANCE_S = 5.0
#: the oldest servers that we know to work
OLDEST = {"MySQL": (8, 0), "MariaDB": (10, 6)}
#: a value in JSON is quoted anew in SQL, and each of its quotes then takes two bytes
BYTES_IN_SQL = 2

SUBJECT = "database"
MIGRATE = "run: grid-async-task migrate"


class SqlInspector(Inspector):
    """Connects once, with the login of the settings, and only reads."""

    def __init__(self, url: str, *, table: str, largest_value_bytes: int) -> None:
        """`largest_value_bytes`: the larger one of a message and a result."""
        self._database = Database(
            url, pool_size=1, max_overflow=0, pool_timeout_s=10, pool_recycle_s=1800, answer_timeout_s=ANSWER_TIMEOUT_S
        )
        self._tables = tables_named(table)
        self._largest_value_bytes = largest_value_bytes

    def inspect(self) -> list[Finding]:
        findings: list[Finding] = []
        if not self._database.is_mysql and not Path(self._where).exists():
            return [Finding(Level.ERROR, SUBJECT, f"the file {self._where} does not exist yet", MIGRATE)]
        try:
            with self._database.connected() as connection:
                findings.append(Finding(Level.OK, SUBJECT, f"reachable: {self._where}"))
                if self._database.is_mysql:
                    findings.extend(self._server(connection))
                findings.extend(self._table(connection))
        except ConfigurationError as error:
            findings.append(Finding(Level.ERROR, SUBJECT, f"{self._where}: {error}", "see the variable MYSQL_URL"))
        except GridAsyncTaskError as error:
            advice = "start the server, or mend host and port in MYSQL_URL; a firewall may be in the way"
            findings.append(Finding(Level.ERROR, SUBJECT, f"{self._where}: {error}", advice))
        finally:
            self._database.close()
        return findings

    def missing(self) -> list[Missing]:
        return [
            Missing("migration", f"{each.revision} of {self._tables.name}: {each.title}") for each in self.pending()
        ]

    def pending(self) -> list[PlannedMigration]:
        """The migrations that the table has not seen, in the words of its server. Raises as `missing` does."""
        if not self._database.is_mysql and not Path(self._where).exists():
            # to connect would make the file; an empty database lacks the same
            with create_engine("sqlite://").connect() as connection:
                return pending_migrations(connection, self._tables)
        try:
            with self._database.connected() as connection:
                return pending_migrations(connection, self._tables)
        finally:
            self._database.close()

    @property
    def _where(self) -> str:
        url = self._database.url
        return f"{url.host}:{url.port or 3306}/{url.database}" if self._database.is_mysql else str(url.database)

    # -- the server -------------------------------------------------------------------------------

    def _server(self, connection: Connection) -> Iterator[Finding]:
        before = datetime.now(timezone.utc)
        names = (
            "version",
            "read_only",
            "character_set_database",
            "max_allowed_packet",
            "log_bin",
            "binlog_format",
            "binlog_row_image",
            "time_zone",
            "system_time_zone",
        )
        asked = ", ".join(f"@@{name} AS {name}" for name in names)
        said: dict[str, Any] = dict(
            connection.execute(text(f"SELECT {asked}, UTC_TIMESTAMP(6) AS time, NOW(6) AS local_time")).mappings().one()
        )
        after = datetime.now(timezone.utc)
        yield _version(str(said["version"]))
        # ON or OFF on some servers, 1 or 0 on others
        if str(said["read_only"]) not in ("0", "OFF"):
            advice = "point MYSQL_URL at the primary: workers write with every step"
            yield Finding(Level.ERROR, SUBJECT, "the server is read-only, a replica perhaps", advice)
        yield self._character_set(str(said["character_set_database"]))
        yield self._packet(int(said["max_allowed_packet"]))
        yield from _binlog(said)
        yield _clock(said["time"].replace(tzinfo=timezone.utc), before, after)
        yield _time_zone(said)

    def _character_set(self, name: str) -> Finding:
        if name == "utf8mb4":
            return Finding(Level.OK, SUBJECT, "its character set is utf8mb4")
        return Finding(
            Level.WARNING,
            SUBJECT,
            f"its default character set is {name}; our tables name utf8mb4 themselves, other tables may lose text",
            f"ALTER DATABASE `{self._database.url.database}` CHARACTER SET utf8mb4",
        )

    def _packet(self, limit: int) -> Finding:
        largest = self._largest_value_bytes
        text = f"max_allowed_packet is {limit}, MESSAGE_MAX_BYTES and RESULT_MAX_BYTES allow {largest} bytes"
        advice = f"set max_allowed_packet to {BYTES_IN_SQL * largest} or more, or lower those two settings"
        if limit < largest:
            return Finding(Level.ERROR, SUBJECT, f"{text}: larger tasks become dead letters", advice)
        if limit < BYTES_IN_SQL * largest:
            return Finding(Level.WARNING, SUBJECT, f"{text}, which quoting in SQL may double", advice)
        return Finding(Level.OK, SUBJECT, text)

    # -- the table --------------------------------------------------------------------------------

    def _table(self, connection: Connection) -> Iterator[Finding]:
        name, subject = self._tables.name, "table"
        try:
            refuse_foreign_table(connection, self._tables)
        except ConfigurationError as error:
            yield Finding(Level.ERROR, subject, str(error).split("; ")[0], str(error).split("; ", 1)[-1])
            return
        version = applied_version(connection, self._tables)
        if version is None:
            yield Finding(Level.ERROR, subject, f"{name} does not exist yet", MIGRATE)
        elif version < HEAD:
            pending = ", ".join(each.revision for each in pending_migrations(connection, self._tables))
            text = f"{name} is of version {version}, this package brings {HEAD}: migrations {pending} are pending"
            yield Finding(Level.WARNING, subject, text, f"{MIGRATE} (workers do it too when they start)")
        elif version > HEAD:
            text = f"{name} is of version {version}, newer than this package, which knows {HEAD}; it can be used"
            yield Finding(Level.OK, subject, text, "bring grid-async-task up to date here too")
        else:
            yield Finding(Level.OK, subject, f"{name} is up to date (version {version})")
        if self._database.is_mysql:
            yield from self._rights(connection, version)
            yield from self._column_character_sets(connection)

    def _rights(self, connection: Connection, version: str | None) -> Iterator[Finding]:
        user, database = self._database.url.username, self._database.url.database
        if version is not None and version >= HEAD:
            if lacking := lacking_to_work(connection, self._tables):
                advice = f"let an administrator grant SELECT, INSERT, UPDATE and DELETE on {database}.* to {user!r}"
                yield Finding(Level.ERROR, "rights", f"the user {user!r} lacks {', '.join(lacking)}", advice)
            else:
                yield Finding(Level.OK, "rights", f"the user {user!r} may read and write the tables")
        if not (lacking := lacking_to_migrate(connection)):
            return
        text = f"the user {user!r} may not make or alter tables: there is no grant of {', '.join(lacking)}"
        if version is None or version < HEAD:
            advice = (
                f"let an administrator grant {', '.join(lacking)} on {database}.*, or run for you what this prints:"
                " grid-async-task migrate --sql"
            )
            yield Finding(Level.ERROR, "rights", text, advice)
        else:
            advice = "before an update, let an administrator run what this prints: grid-async-task migrate --sql"
            yield Finding(Level.OK, "rights", text, advice)

    def _column_character_sets(self, connection: Connection) -> Iterator[Finding]:
        columns = text(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = :table"
            " AND character_set_name IS NOT NULL AND character_set_name <> 'utf8mb4'"
        )
        wrong = connection.execute(columns, {"table": self._tables.name}).scalars().all()
        if wrong:
            yield Finding(
                Level.ERROR,
                "table",
                f"columns of {self._tables.name} are not utf8mb4 and can't hold every text: {', '.join(wrong)}",
                f"ALTER TABLE {self._tables.name} CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
            )


def _version(version: str) -> Finding:
    kind = "MariaDB" if "mariadb" in version.lower() else "MySQL"
    numbers = re.search(r"(\d+)\.(\d+)", version)
    if numbers is not None and (int(numbers[1]), int(numbers[2])) < OLDEST[kind]:
        oldest = ".".join(map(str, OLDEST[kind]))
        return Finding(Level.ERROR, SUBJECT, f"{kind} {version} is too old", f"use {kind} {oldest} or later")
    return Finding(Level.OK, SUBJECT, f"{kind} {version}")


def _binlog(said: dict[str, Any]) -> Iterator[Finding]:
    is_on = str(said["log_bin"]) in ("1", "ON")
    if is_on and str(said["binlog_format"]) != "STATEMENT" and str(said["binlog_row_image"]) == "FULL":
        yield Finding(
            Level.WARNING,
            SUBJECT,
            "binlog_row_image is FULL: every heartbeat of a task writes all of its data to the binary log, twice",
            "SET GLOBAL binlog_row_image = 'NOBLOB', unless a reader of the log needs whole rows",
        )


def _clock(theirs: datetime, before: datetime, after: datetime) -> Finding:
    drift_s = max((theirs - after).total_seconds(), (before - theirs).total_seconds(), 0.0)
    if drift_s <= CLOCK_TOLERANCE_S:
        return Finding(Level.OK, "clock", "the database's clock and this machine's agree")
    return Finding(
        Level.WARNING,
        "clock",
        f"the database's clock and this machine's differ by {drift_s:.0f} s: signed callbacks may be refused, and ages"
        " and times of tasks seem wrong (leases do not: only the database's clock counts for them)",
        "let both machines keep their time by NTP",
    )


def _time_zone(said: dict[str, Any]) -> Finding:
    zone, system = str(said["time_zone"]), str(said["system_time_zone"])
    shown = f"{zone} ({system})" if zone == "SYSTEM" else zone
    offset_minutes = round((said["local_time"] - said["time"]).total_seconds() / 60)
    if offset_minutes == 0:
        return Finding(Level.OK, "time zone", f"the database's time zone is {shown}, and the same as UTC now")
    text = f"the database's time zone is {shown}, {offset_minutes / 60:+g} h from UTC; the times in our tables are UTC"
    return Finding(Level.OK, "time zone", text, "in queries of your own compare them with UTC_TIMESTAMP(), not NOW()")
