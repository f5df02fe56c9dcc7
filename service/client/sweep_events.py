"""The events of a submitted sweep and their JSON, as the server stores and streams them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter

from service.client.job_states import JobState
from service.study.events import (
    BestImproved,
    EpochEnded,
    TrialEnded,
    TrialEvent,
    TrialPaused,
    TrialStarted,
)

__all__ = [
    "BestImproved",
    "EpochEnded",
    "StateChanged",
    "SweepEvent",
    "TrialEnded",
    "TrialPaused",
    "TrialStarted",
    "event_to_json",
    "parse_event",
]


@dataclass(frozen=True, kw_only=True)
class StateChanged:
    """The sweep's state has changed; ``time`` is Unix seconds, ``old`` is None for a new sweep."""

    time: float
    old: JobState | None
    new: JobState
    cause: str
    by: str
    kind: Literal["state_changed"] = "state_changed"


SweepEvent = TrialEvent | StateChanged

_ADAPTER: TypeAdapter[SweepEvent] = TypeAdapter(
    Annotated[SweepEvent, Field(discriminator="kind")],
    config=ConfigDict(ser_json_inf_nan="strings"),
)
_NOT_SENT = {"trial": {"epochs", "anatomy", "control_anatomy"}}


def event_to_json(event: SweepEvent) -> bytes:
    """An event as JSON, a trial without its epochs; NaN and infinities are strings."""
    return _ADAPTER.dump_json(event, exclude=_NOT_SENT)


def parse_event(raw: bytes | str | dict[str, Any]) -> SweepEvent:
    """An event from its JSON.

    Raises:
        pydantic.ValidationError: it is not an event.
    """
    if isinstance(raw, dict):
        return _ADAPTER.validate_python(raw)
    return _ADAPTER.validate_json(raw)
