"""The sizes of sweeps' folders; numbers of events that are never used again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Apply the migration.

    SQLite gives the number of a deleted last row again, unless the table counts by itself.
    Webhooks and listeners remember numbers of events.
    """
    op.add_column("sweeps", sa.Column("size", sa.BigInteger(), nullable=True))
    op.add_column("sweeps", sa.Column("measured", sa.Double(), nullable=True))
    op.create_index("ix_sweeps_bundle", "sweeps", ["bundle"])
    if op.get_bind().dialect.name == "sqlite":
        counting = {"sqlite_autoincrement": True}
        with op.batch_alter_table("events", recreate="always", table_kwargs=counting):
            pass
