"""An index for the recent usage of users, which every round of the queue reads."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Apply the migration."""
    op.create_index("ix_sweeps_last_heartbeat", "sweeps", ["last_heartbeat"])
