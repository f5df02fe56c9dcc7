"""Whether the drivers of a sweep may go on with other data, code or libraries."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Apply the migration."""
    no = sa.false()
    op.add_column(
        "sweeps", sa.Column("accept_changes", sa.Boolean(), nullable=False, server_default=no)
    )
