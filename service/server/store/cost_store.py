"""What sweeps cost, by sweep and by user; a sweep that is deleted still counts for its owner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.server.store.database import Database, upsert
from service.server.store.tables import SweepRow, UsageRow
from service.sweep.cost import Cost

_NAMES = tuple(field.name for field in fields(Cost))
_COLUMNS = tuple(getattr(UsageRow, name) for name in _NAMES)


class CostStore:
    """The costs of the sweeps of one service."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_sweep(self, sweep_id: str) -> Cost:
        """The cost of a sweep so far; of one that has reported none, nothing."""
        query = select(*_COLUMNS).where(UsageRow.sweep == sweep_id)
        with self._database.reading() as session:
            found = session.execute(query).first()
        return Cost() if found is None else Cost(**dict(zip(_NAMES, found, strict=True)))

    def of_user(self, user: str) -> Cost:
        """The cost of all sweeps of a user, deleted ones included."""
        return self.by_user().get(user, Cost())

    def by_user(self) -> Mapping[str, Cost]:
        """The cost of all sweeps of each user who has had one."""
        query = select(UsageRow.owner, *map(func.sum, _COLUMNS)).group_by(UsageRow.owner)
        with self._database.reading() as session:
            rows = session.execute(query).all()
        return {owner: Cost(**dict(zip(_NAMES, seconds, strict=True))) for owner, *seconds in rows}


def write_cost(session: Session, sweep: SweepRow, cost: Cost) -> None:
    """Replace the cost of a sweep, in the caller's transaction."""
    values = {"sweep": sweep.id, "owner": sweep.owner, **asdict(cost)}
    upsert(session, UsageRow, [values], ("sweep",))
