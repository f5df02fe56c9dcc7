"""Converts the store's records to the API's models where their fields differ."""

from __future__ import annotations

from service.client.models import SweepDetails, SweepOut, TransitionOut
from service.server.store.job_records import SweepWithHistory


def sweep_details(found: SweepWithHistory) -> SweepDetails:
    """A sweep with its spec, its history and the number of its newest event."""
    history = tuple(TransitionOut.model_validate(t) for t in found.history)
    fields = SweepOut.model_validate(found.job).model_dump()
    return SweepDetails(**fields, spec=found.job.spec, history=history, last_event=found.last_event)
