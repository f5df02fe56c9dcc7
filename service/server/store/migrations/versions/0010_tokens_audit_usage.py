"""Names, scopes and last use of tokens; the audit log; the usage of sweeps."""

from __future__ import annotations

from collections import Counter

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

_SCOPES = {"viewer": "read", "user": "submit", "admin": "admin"}
_ACTIVE = sa.text("revoked IS NULL")
_SECONDS = (
    "search_cpu_seconds",
    "search_gpu_seconds",
    "confirmation_cpu_seconds",
    "confirmation_gpu_seconds",
)


def upgrade() -> None:
    """Apply the migration."""
    _name_tokens()
    _create_audit()
    _create_usage()


def _name_tokens() -> None:
    """A user's tokens get the scope of its role, and are named default, default-2, and so on."""
    with op.batch_alter_table("tokens") as tokens:
        tokens.add_column(
            sa.Column("name", sa.String(64), nullable=False, server_default="default")
        )
        tokens.add_column(sa.Column("scope", sa.String(16), nullable=False, server_default="read"))
        tokens.add_column(sa.Column("last_used", sa.Double(), nullable=True))
        tokens.add_column(sa.Column("last_address", sa.String(64), nullable=True))
    connection, known = op.get_bind(), Counter[str]()
    rows = connection.execute(
        sa.text(
            'SELECT tokens.id, tokens."user", users.role FROM tokens JOIN users '
            'ON users.name = tokens."user" ORDER BY tokens.revoked IS NOT NULL, tokens.id'
        )
    ).all()
    change = sa.text("UPDATE tokens SET name = :name, scope = :scope WHERE id = :id")
    for number, user, role in rows:
        known[user] += 1
        name = "default" if known[user] == 1 else f"default-{known[user]}"
        connection.execute(change, {"id": number, "name": name, "scope": _SCOPES[role]})
    with op.batch_alter_table("tokens") as tokens:
        tokens.alter_column("name", server_default=None)
        tokens.alter_column("scope", server_default=None)
    op.create_index(
        "uq_tokens_user_name",
        "tokens",
        ["user", "name"],
        unique=True,
        sqlite_where=_ACTIVE,
        postgresql_where=_ACTIVE,
    )


def _create_audit() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("time", sa.Double(), nullable=False),
        sa.Column("last", sa.Double(), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("user", sa.String(64), nullable=True),
        sa.Column("token", sa.String(64), nullable=True),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("sweep", sa.String(96), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("key", sa.String(64), nullable=True, unique=True),
    )
    op.create_index("ix_audit_last", "audit", ["last"])
    op.create_index("ix_audit_user", "audit", ["user", "id"])
    op.create_index("ix_audit_sweep", "audit", ["sweep", "id"])


def _create_usage() -> None:
    """Earlier sweeps get what is known of them: their trials' seconds, divided by role.

    A slot counted as the larger of its CPUs and its GPUs; these were seldom more GPUs.
    """
    op.create_table(
        "usage",
        sa.Column("sweep", sa.String(96), primary_key=True),
        sa.Column("owner", sa.String(64), sa.ForeignKey("users.name"), nullable=False),
        *(sa.Column(name, sa.Double(), nullable=False) for name in _SECONDS),
    )
    op.create_index("ix_usage_owner", "usage", ["owner"])
    roles = "'replicate', 'removal', 'audit', 'confirm'"
    part = (
        f"COALESCE((SELECT SUM(CASE WHEN role IN ({roles}) THEN seconds ELSE 0.0 END) "
        "/ NULLIF(SUM(seconds), 0.0) FROM trials WHERE sweep_id = sweeps.id), 0.0)"
    )
    op.execute(
        f"INSERT INTO usage (sweep, owner, {', '.join(_SECONDS)}) SELECT id, owner, "
        f"slot_seconds * (1.0 - {part}), gpu_hours * 3600.0 * (1.0 - {part}), "
        f"slot_seconds * {part}, gpu_hours * 3600.0 * {part} "
        "FROM sweeps WHERE slot_seconds > 0.0"
    )
