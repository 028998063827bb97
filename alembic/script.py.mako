"""${message}

Only add, never alter or drop: older workers go on beside newer ones. One idempotent step a revision, since DDL
is not transactional on MySQL. Numbers have four digits and grow by one; set HEAD in adapters/sql/migrations.py.
"""

from __future__ import annotations

from alembic import op
import sqlalchemy as sa
${imports if imports else ""}

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward")
