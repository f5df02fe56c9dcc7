"""Events hold the records that they are about: a trial or an epoch, and snake_case kinds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_CHUNK = 1000
_STATES = {"trial completed": "complete", "trial pruned": "pruned", "trial failed": "failed"}
_KINDS = {
    "trial started": "trial_started",
    **dict.fromkeys(_STATES, "trial_ended"),
    "best improved": "best_improved",
}
_UNKNOWN = {"role": "search", "params": {}}
_NEST_EPOCHS = {
    "sqlite": "json_object('epoch', json_set(data, '$.time', time))",
    "postgresql": "json_build_object('epoch', data::jsonb || jsonb_build_object('time', time))",
}

_EVENTS = sa.table(
    "events",
    sa.column("id", sa.BigInteger),
    sa.column("sweep_id", sa.String),
    sa.column("kind", sa.String),
    sa.column("key", sa.String),
    sa.column("data", sa.JSON),
)
_TRIALS = sa.table(
    "trials",
    sa.column("sweep_id", sa.String),
    sa.column("number", sa.Integer),
    sa.column("role", sa.String),
    sa.column("facts", sa.JSON),
)


def upgrade() -> None:
    """Apply the migration."""
    connection = op.get_bind()
    op.execute("UPDATE events SET kind = 'state_changed' WHERE kind = 'state changed'")
    op.execute(
        "UPDATE events SET kind = 'epoch_ended', key = replace(key, 'epoch ', 'epoch_ended '), "
        f"data = {_NEST_EPOCHS[connection.dialect.name]} WHERE kind = 'epoch'"
    )
    for rows in _chunks(connection):
        trials = _trials_of(connection, {row.sweep_id for row in rows})
        for row in rows:
            kind, number = _KINDS[row.kind], row.data["trial"]
            known = trials.get((row.sweep_id, number), _UNKNOWN)
            trial = {**known, **_fields(row.kind, row.data), "number": number}
            connection.execute(
                sa.update(_EVENTS)
                .where(_EVENTS.c.id == row.id)
                .values(
                    kind=kind,
                    key=None if row.key is None else f"{kind} {number}",
                    data={"trial": trial},
                )
            )


def _chunks(connection: sa.Connection) -> Iterator[Sequence[Any]]:
    last = -1
    while True:
        query = (
            sa.select(_EVENTS)
            .where(_EVENTS.c.kind.in_(list(_KINDS)), _EVENTS.c.id > last)
            .order_by(_EVENTS.c.id)
            .limit(_CHUNK)
        )
        rows = connection.execute(query).all()
        if not rows:
            return
        yield rows
        last = rows[-1].id


def _trials_of(
    connection: sa.Connection, sweeps: set[str]
) -> Mapping[tuple[str, int], Mapping[str, Any]]:
    """Role and parameters of every trial of some sweeps: an event of its end had neither."""
    rows = connection.execute(sa.select(_TRIALS).where(_TRIALS.c.sweep_id.in_(sorted(sweeps))))
    return {
        (row.sweep_id, row.number): {"role": row.role, "params": row.facts.get("params", {})}
        for row in rows
    }


def _fields(kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the trial that the event had."""
    state = "running" if kind == "trial started" else _STATES.get(kind, "complete")
    return {"state": state, **{name: value for name, value in data.items() if name != "trial"}}
