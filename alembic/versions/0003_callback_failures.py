"""How many tries of a callback were sent and failed: a worker that dies before it sends must not use one up."""

from __future__ import annotations

from sqlalchemy import Connection, inspect

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade(table_name: str, there: Connection) -> None:
    inspector = inspect(there)
    columns = inspector.get_columns(table_name) if inspector.has_table(table_name) else []
    if any(column["name"] == "callback_failures" for column in columns):
        return
    at_once = ", ALGORITHM=INSTANT" if there.dialect.name == "mysql" else ""
    op.execute(f"ALTER TABLE {table_name} ADD COLUMN callback_failures INTEGER NOT NULL DEFAULT 0{at_once}")


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward")
