"""Converts the store's records to the API's models where their fields differ."""

from __future__ import annotations

from service.client.api_models import CostOut, SweepDetails, SweepOut, TransitionOut
from service.server.store.job_records import SweepWithHistory
from service.sweep.cost import Cost


def sweep_details(found: SweepWithHistory, cost: Cost) -> SweepDetails:
    """A sweep with its spec, its history, its cost and the number of its newest event."""
    history = tuple(TransitionOut.model_validate(t) for t in found.history)
    fields = SweepOut.model_validate(found.job).model_dump()
    return SweepDetails(
        **fields,
        spec=found.job.spec,
        cost=CostOut.model_validate(cost),
        history=history,
        last_event=found.last_event,
    )
