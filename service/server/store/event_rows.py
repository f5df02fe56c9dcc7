"""Events as rows: a row's ``data`` is the event's JSON without its kind."""

from __future__ import annotations

import json
from typing import Any

from service.client.sweep_events import (
    EpochEnded,
    StateChanged,
    SweepEvent,
    TrialPaused,
    event_to_json,
    parse_event,
)
from service.server.store.job_records import StoredEvent
from service.server.store.tables import EventRow


def to_values(sweep_id: str, event: SweepEvent, now: float) -> dict[str, Any]:
    """The columns of an event's row."""
    data = json.loads(event_to_json(event))
    kind = data.pop("kind")
    return {"sweep_id": sweep_id, "time": now, "kind": kind, "key": _key(event), "data": data}


def to_event(row: EventRow) -> StoredEvent:
    """The record of a row."""
    event = parse_event({"time": row.time, **row.data, "kind": row.kind})
    return StoredEvent(number=row.id, sweep_id=row.sweep_id, time=row.time, event=event)


def _key(event: SweepEvent) -> str | None:
    """The same for an event that is reported again; None for one that the store makes itself."""
    match event:
        case StateChanged():
            return None
        case EpochEnded():
            return f"{event.kind} {event.epoch.trial} {event.epoch.epoch}"
        case TrialPaused():  # as often as it is paused
            return f"{event.kind} {event.trial.number} {event.trial.seconds:.6f}"
        case _:
            return f"{event.kind} {event.trial.number}"
