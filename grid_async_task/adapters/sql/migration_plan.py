"""What migrating would do to a database as it is now, without doing it."""

from __future__ import annotations

import io
from dataclasses import dataclass

from sqlalchemy import Connection, literal_column

from grid_async_task.adapters.sql.foreign_table import refuse_foreign_table
from grid_async_task.adapters.sql.migrations import applied_version, migrations_folder
from grid_async_task.adapters.sql.tables import Tables


@dataclass(frozen=True)
class PlannedMigration:
    #: its number
    revision: str
    #: what it is about
    title: str
    #: in the words of this very server, each ended by a semicolon, the note of its being done included
    statements: str


def pending_migrations(connection: Connection, tables: Tables) -> list[PlannedMigration]:
    """Those that the tables have not seen, the oldest first. Only reads. Raises `ConfigurationError`."""
    from alembic.script import ScriptDirectory

    refuse_foreign_table(connection, tables)
    applied = applied_version(connection, tables)
    # from the newest back to the first
    scripts = reversed(list(ScriptDirectory(str(migrations_folder())).walk_revisions()))
    pending = [script for script in scripts if applied is None or script.revision > applied]
    planned = []
    for script in pending:
        title = (script.module.__doc__ or "").strip().splitlines()[0]
        statements = _statements(connection, tables, script.module, script.revision, is_first=applied is None)
        planned.append(PlannedMigration(script.revision, title, statements))
        applied = script.revision
    return planned


def _statements(connection: Connection, tables: Tables, module: object, revision: str, *, is_first: bool) -> str:
    """Alembic writes them down instead of sending them; the migration itself looks at the database as it is."""
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext

    written = io.StringIO()
    context = MigrationContext.configure(connection, opts={"as_sql": True, "output_buffer": written})
    with Operations.context(context):
        if is_first:
            context.execute(tables.create_versions)
        module.upgrade(tables.name, connection)  # type: ignore[attr-defined]
        note = tables.versions.insert() if is_first else tables.versions.update()
        context.execute(note.values(version_num=literal_column(repr(revision))))
    return written.getvalue().strip()
