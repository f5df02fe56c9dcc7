"""Columns of sweeps get the names that the API uses: requested action, attempt, last heartbeat."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"

_RENAMED = {
    "wish": "requested_action",
    "wished_by": "requested_by",
    "turn": "attempt",
    "heard": "last_heartbeat",
}


def upgrade() -> None:
    """Rename the columns; the rows keep their values."""
    for old, new in _RENAMED.items():
        op.alter_column("sweeps", old, new_column_name=new)
