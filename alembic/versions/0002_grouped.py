"""Which claims were made together with others: the loss of their worker says nothing about any one of them."""

from __future__ import annotations

from sqlalchemy import Connection, inspect

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade(table_name: str, there: Connection) -> None:
    inspector = inspect(there)
    columns = inspector.get_columns(table_name) if inspector.has_table(table_name) else []
    if any(column["name"] == "grouped" for column in columns):
        return
    # at the end and with a default, so that no row is rewritten, and workers of before go on beside it
    at_once = ", ALGORITHM=INSTANT" if there.dialect.name == "mysql" else ""
    op.execute(f"ALTER TABLE {table_name} ADD COLUMN grouped BOOLEAN NOT NULL DEFAULT 0{at_once}")


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward")
