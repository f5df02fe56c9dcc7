"""The ranges that a sweep was widened to when it was extended or resumed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Apply the migration."""
    op.add_column("sweeps", sa.Column("wider", sa.JSON(), nullable=False, server_default="{}"))
