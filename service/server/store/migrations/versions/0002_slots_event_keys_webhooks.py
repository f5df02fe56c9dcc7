"""Slots and launch times of sweeps, keys of events, webhooks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Apply the migration."""
    with op.batch_alter_table("sweeps") as sweeps:
        sweeps.add_column(sa.Column("slots", sa.Integer(), nullable=True))
        sweeps.add_column(sa.Column("launched", sa.Double(), nullable=True))
    with op.batch_alter_table("events") as events:
        events.add_column(sa.Column("key", sa.String(64), nullable=True))
        events.create_unique_constraint("uq_events_sweep_key", ["sweep_id", "key"])
    op.create_table(
        "webhooks",
        sa.Column("url", sa.String(512), primary_key=True),
        sa.Column("event", sa.BigInteger(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("next_try", sa.Double(), nullable=False),
    )
