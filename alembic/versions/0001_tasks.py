"""The table of tasks, their checkpoints, and who swept last."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Connection, Index, Integer, MetaData, String, Table, inspect, text
from sqlalchemy.schema import CreateIndex, CreateTable

from alembic import op
from grid_async_task.adapters.sql.column_types import JsonText, UtcDateTime, error_text, long_text, one_of
from grid_async_task.adapters.sql.db_time import default_now

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

OPTIONS = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mysql_row_format": "DYNAMIC",
}


def upgrade(table_name: str, there: Connection) -> None:
    """`there` is for looking only: what `op` is given may be printed instead of done."""
    metadata = MetaData()
    nought = text("0")
    tasks = Table(
        table_name,
        metadata,
        Column("id", String(255), primary_key=True),
        Column("queue", String(255), nullable=False, server_default=""),
        Column("task_type", String(100), nullable=False, server_default="default"),
        Column(
            "status",
            one_of("pending", "running", "success", "failed", "retrying"),
            nullable=False,
            server_default="pending",
        ),
        Column("data", JsonText()),
        Column("extra", JsonText()),
        Column("result", JsonText()),
        Column("error_message", error_text()),
        Column("error_type", String(255)),
        Column("error_cause", String(255)),
        Column("progress", Integer, nullable=False, server_default=nought),
        Column("progress_message", String(500), nullable=False, server_default=""),
        Column("attempt", Integer, nullable=False, server_default=nought),
        Column("owner", String(255)),
        Column("wake_at", UtcDateTime()),
        Column("retry_count", Integer, nullable=False, server_default=nought),
        Column("max_retry_count", Integer, server_default=nought),
        Column("crash_count", Integer, nullable=False, server_default=nought),
        Column("cancel_requested", Boolean, nullable=False, server_default=nought),
        Column("callback_url", String(500)),
        Column("callback_type", String(100), nullable=False, server_default="http"),
        Column("callback_data", JsonText()),
        Column("callback_status", one_of("due", "sent", "exhausted")),
        Column("callback_attempts", Integer, nullable=False, server_default=nought),
        Column("sweep_after", UtcDateTime()),
        Column("sweep_count", Integer, nullable=False, server_default=nought),
        Column("created_at", UtcDateTime(), nullable=False, server_default=default_now()),
        Column("updated_at", UtcDateTime(), nullable=False, server_default=default_now()),
        Column("started_at", UtcDateTime()),
        Column("completed_at", UtcDateTime()),
        **OPTIONS,
    )
    checkpoints = Table(
        f"{table_name}_checkpoints",
        metadata,
        Column("task_id", String(255), primary_key=True),
        Column("value", long_text(), nullable=False),
        Column("updated_at", UtcDateTime(), nullable=False),
        **OPTIONS,
    )
    sweeps = Table(
        f"{table_name}_sweeps",
        metadata,
        Column("queue", String(255), primary_key=True),
        Column("swept_at", UtcDateTime(), nullable=False),
        **OPTIONS,
    )
    for table in (tasks, checkpoints, sweeps):
        op.execute(CreateTable(table, if_not_exists=True))
    _create_indexes(tasks, there)


def _create_indexes(tasks: Table, there: Connection) -> None:
    """CREATE INDEX IF NOT EXISTS is MariaDB's alone, so look first."""
    inspector = inspect(there)
    indexes = inspector.get_indexes(tasks.name) if inspector.has_table(tasks.name) else []
    existing = {index["name"] for index in indexes}
    for index in (
        Index(f"{tasks.name}_wake", tasks.c.queue, tasks.c.wake_at),
        Index(f"{tasks.name}_created", tasks.c.created_at),
    ):
        if index.name not in existing:
            op.execute(CreateIndex(index))


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward")
