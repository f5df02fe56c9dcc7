"""The tables of the service. Times are Unix seconds; ids of sweeps are their folders' names."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

_Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up only a plain INTEGER


class Base(DeclarativeBase):
    """Root of the tables."""

    type_annotation_map = {dict[str, Any]: JSON, list[str]: JSON}  # noqa: RUF012  # SQLAlchemy reads it from the class


class UserRow(Base):
    """A person or a program that uses the service."""

    __tablename__ = "users"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    role: Mapped[str] = mapped_column(String(16))
    created: Mapped[float]
    revoked: Mapped[float | None]


class TokenRow(Base):
    """A user's API token, stored as its SHA-256 in hexadecimal; the token itself is not stored.

    A name is one token's of the user until the token is revoked.
    """

    __tablename__ = "tokens"
    __table_args__ = (
        Index(
            "uq_tokens_user_name",
            "user",
            "name",
            unique=True,
            sqlite_where=text("revoked IS NULL"),
            postgresql_where=text("revoked IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    user: Mapped[str] = mapped_column(ForeignKey("users.name"), index=True)
    name: Mapped[str] = mapped_column(String(64))
    scope: Mapped[str] = mapped_column(String(16))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    created: Mapped[float]
    expires: Mapped[float | None]
    revoked: Mapped[float | None]
    last_used: Mapped[float | None]
    last_address: Mapped[str | None] = mapped_column(String(64))


class KeyRow(Base):
    """A random key of the service's own, in hexadecimal."""

    __tablename__ = "server_keys"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    value: Mapped[str] = mapped_column(String(64))


class BundleRow(Base):
    """A user's code, named by the SHA-256 of its archive."""

    __tablename__ = "bundles"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    owner: Mapped[str] = mapped_column(ForeignKey("users.name"))
    created: Mapped[float]
    size: Mapped[int]
    modules: Mapped[list[str]]


class SweepRow(Base):
    """A submitted sweep in its current state; the columns are those of ``job_records.Job``."""

    __tablename__ = "sweeps"
    __table_args__ = (
        UniqueConstraint("owner", "idempotency_key"),
        Index("ix_sweeps_created", "created", "id"),
        Index("ix_sweeps_state_created", "state", "created"),
        Index("ix_sweeps_owner_created", "owner", "created"),
        Index("ix_sweeps_last_heartbeat", "last_heartbeat"),
        Index("ix_sweeps_bundle", "bundle"),
    )

    id: Mapped[str] = mapped_column(String(96), primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    owner: Mapped[str] = mapped_column(ForeignKey("users.name"))
    state: Mapped[str] = mapped_column(String(16))
    created: Mapped[float]
    changed: Mapped[float]
    spec: Mapped[str] = mapped_column(Text)
    priority: Mapped[int]
    after: Mapped[list[str]]
    bundle: Mapped[str | None] = mapped_column(ForeignKey("bundles.digest"))
    idempotency_key: Mapped[str | None] = mapped_column(String(128))
    requested_action: Mapped[str | None] = mapped_column(String(16))
    requested_by: Mapped[str | None] = mapped_column(String(64))
    cause: Mapped[str | None] = mapped_column(Text)
    attempt: Mapped[int]
    failures: Mapped[int]
    more_trials: Mapped[int]
    slots: Mapped[int | None]
    launched: Mapped[float | None]
    last_heartbeat: Mapped[float | None]
    slot_seconds: Mapped[float]
    gpu_hours: Mapped[float]
    progress: Mapped[dict[str, Any]]
    accept_changes: Mapped[bool]
    wider: Mapped[dict[str, Any]]
    size: Mapped[int | None] = mapped_column(BigInteger())
    measured: Mapped[float | None]


class TransitionRow(Base):
    """A transition of a sweep's state: when, why, and by whom."""

    __tablename__ = "transitions"

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    sweep_id: Mapped[str] = mapped_column(ForeignKey("sweeps.id"), index=True)
    time: Mapped[float]
    old: Mapped[str | None] = mapped_column(String(16))
    new: Mapped[str] = mapped_column(String(16))
    cause: Mapped[str] = mapped_column(Text)
    by: Mapped[str] = mapped_column(String(64))


class TrialRow(Base):
    """A trial as last reported by its driver; ``facts`` holds what no query selects by."""

    __tablename__ = "trials"

    sweep_id: Mapped[str] = mapped_column(ForeignKey("sweeps.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    role: Mapped[str] = mapped_column(String(16))
    value: Mapped[float | None]
    seconds: Mapped[float]
    ended: Mapped[float | None]
    facts: Mapped[dict[str, Any]]


class EpochRow(Base):
    """One epoch of one trial; an epoch that is reported twice is the same row."""

    __tablename__ = "epochs"

    sweep_id: Mapped[str] = mapped_column(ForeignKey("sweeps.id"), primary_key=True)
    trial: Mapped[int] = mapped_column(primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True)
    time: Mapped[float]
    metrics: Mapped[dict[str, Any]]


class EventRow(Base):
    """Events of a sweep, in order; a client that reconnects continues after the last ``id``.

    An event that may be reported twice has a ``key``, and is stored once. The number of an event
    that was deleted is never given again: clients and webhooks remember numbers.
    """

    __tablename__ = "events"
    __table_args__ = (
        Index("ix_events_sweep", "sweep_id", "id"),
        UniqueConstraint("sweep_id", "key", name="uq_events_sweep_key"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    sweep_id: Mapped[str] = mapped_column(ForeignKey("sweeps.id"))
    time: Mapped[float]
    kind: Mapped[str] = mapped_column(String(32))
    key: Mapped[str | None] = mapped_column(String(64))
    data: Mapped[dict[str, Any]]


class WebhookRow(Base):
    """A webhook: the last event delivered to it, and when it may be called next."""

    __tablename__ = "webhooks"

    url: Mapped[str] = mapped_column(String(512), primary_key=True)
    event: Mapped[int] = mapped_column(BigInteger())
    tries: Mapped[int]
    next_try: Mapped[float]


class LeaseRow(Base):
    """The process that holds a lease, and until when."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    holder: Mapped[str] = mapped_column(String(64))
    until: Mapped[float]


class AuditRow(Base):
    """An entry of the audit log: who did what, when and from where.

    Users, tokens and sweeps are named and not referred to: an entry outlives what it names. An
    action that is repeated has a ``key`` and one row a day: ``time`` is the first, ``last`` the
    last, ``times`` their number.
    """

    __tablename__ = "audit"
    __table_args__ = (Index("ix_audit_user", "user", "id"), Index("ix_audit_sweep", "sweep", "id"))

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    time: Mapped[float]
    last: Mapped[float] = mapped_column(index=True)
    times: Mapped[int]
    user: Mapped[str | None] = mapped_column(String(64))
    token: Mapped[str | None] = mapped_column(String(64))
    address: Mapped[str] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(32))
    sweep: Mapped[str | None] = mapped_column(String(96))
    detail: Mapped[str] = mapped_column(Text)
    key: Mapped[str | None] = mapped_column(String(64), unique=True)


class UsageRow(Base):
    """What a sweep's trials have used, in seconds of CPUs and GPUs; it outlives the sweep."""

    __tablename__ = "usage"

    sweep: Mapped[str] = mapped_column(String(96), primary_key=True)
    owner: Mapped[str] = mapped_column(ForeignKey("users.name"), index=True)
    search_cpu_seconds: Mapped[float]
    search_gpu_seconds: Mapped[float]
    confirmation_cpu_seconds: Mapped[float]
    confirmation_gpu_seconds: Mapped[float]
