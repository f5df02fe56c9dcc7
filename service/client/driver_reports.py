"""What a sweep's driver and the service tell each other over HTTP: bounded, and checked by both.

The driver runs users' code: the service takes nothing of it that is not described here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from service.client.job_states import JobState, RequestedAction
from service.study.events import (
    BestImproved,
    EpochEnded,
    TrialEnded,
    TrialEvent,
    TrialPaused,
    TrialStarted,
)
from service.study.records import Epoch, Role, Trial, TrialState

MAX_ITEMS = 500
"""The largest number of trials, of epochs and of events in one report."""
MAX_REPORT_BYTES = 8 * 2**20
"""The largest report as JSON."""
_MAX_TEXT = 4000


def _clean(text: Any) -> Any:
    """A text as a database can store it, cut where it is too long."""
    if not isinstance(text, str):
        return text
    return text.encode("utf-8", "replace").decode().replace("\0", "")[:_MAX_TEXT]


Text = Annotated[str, BeforeValidator(_clean)]
Name = Annotated[str, StringConstraints(max_length=256)]
Count = Annotated[int, Field(ge=0, lt=2**31)]
Integer = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Metrics = Annotated[dict[Name, float], Field(max_length=1000)]
Value = Annotated[str, StringConstraints(max_length=_MAX_TEXT)]
_Scalar = bool | Integer | float | Value | None
_List = Annotated[tuple[_Scalar | tuple[Any, ...], ...], Field(max_length=1000)]
Params = Annotated[dict[Name, _Scalar | _List], Field(max_length=1000)]


class _Message(BaseModel):
    """NaN and infinities are strings in JSON."""

    model_config = ConfigDict(
        frozen=True, from_attributes=True, extra="forbid", ser_json_inf_nan="strings"
    )


class TrialReport(_Message):
    """A trial without its epochs and its anatomies."""

    number: Count
    state: TrialState
    role: Role
    params: Params
    value: float | None
    best: Metrics
    stopped_epoch: Count | None
    violation: float | None
    reason: Text | None
    confirms: Count | None
    seed: Integer | None
    replicate: Count
    without: Annotated[tuple[Name, ...], Field(max_length=1000)]
    redraws_test: bool
    control: Metrics
    not_acting: Annotated[tuple[Name, ...], Field(max_length=1000)] = ()
    folds: Annotated[tuple[Metrics, ...], Field(max_length=100)] = ()
    errors: Metrics
    ran_on: Annotated[dict[Name, Text], Field(max_length=100)]
    seconds: Finite
    started: Finite | None
    ended: Finite | None

    def to_trial(self) -> Trial:
        """The record."""
        return Trial(**{name: getattr(self, name) for name in TrialReport.model_fields})


class EpochReport(_Message):
    """An epoch."""

    trial: Count
    epoch: Count
    time: Finite
    metrics: Metrics

    def to_epoch(self) -> Epoch:
        """The record."""
        return Epoch(trial=self.trial, epoch=self.epoch, time=self.time, metrics=self.metrics)


class TrialEventReport(_Message):
    """An event of a trial."""

    kind: Literal["trial_started", "trial_paused", "trial_ended", "best_improved"]
    trial: TrialReport

    def to_event(self) -> TrialEvent:
        """The event."""
        trial = self.trial.to_trial()
        match self.kind:
            case "trial_started":
                return TrialStarted(trial=trial)
            case "trial_paused":
                return TrialPaused(trial=trial)
            case "trial_ended":
                return TrialEnded(trial=trial)
            case "best_improved":
                return BestImproved(trial=trial)


class EpochEventReport(_Message):
    """An event of an epoch."""

    kind: Literal["epoch_ended"]
    epoch: EpochReport

    def to_event(self) -> TrialEvent:
        """The event."""
        return EpochEnded(epoch=self.epoch.to_epoch())


EventReport = Annotated[TrialEventReport | EpochEventReport, Field(discriminator="kind")]


class FinalistReport(_Message):
    """The baseline, or the best trial so far."""

    trial: Count
    value: float | None
    gap: float | None = Field(alias="gap/loss")


class ProgressReport(_Message):
    """Counts of trials and the finalists so far, as lists of sweeps show them."""

    running: Count
    paused: Count = 0
    complete: Count
    pruned: Count
    failed: Count
    planned: Count
    metric: Text
    baseline: FinalistReport | None = None
    best: FinalistReport | None = None
    changes: Annotated[tuple[Text, ...], Field(max_length=MAX_ITEMS)] = ()


class CostReport(_Message):
    """What the trials have cost so far, in seconds, see :class:`service.sweep.cost.Cost`."""

    search_cpu_seconds: Amount
    search_gpu_seconds: Amount
    confirmation_cpu_seconds: Amount
    confirmation_gpu_seconds: Amount


class Report(_Message):
    """What is new of a running sweep. To send it twice changes nothing."""

    trials: Annotated[tuple[TrialReport, ...], Field(max_length=MAX_ITEMS)] = ()
    epochs: Annotated[tuple[EpochReport, ...], Field(max_length=MAX_ITEMS)] = ()
    events: Annotated[tuple[EventReport, ...], Field(max_length=MAX_ITEMS)] = ()
    progress: ProgressReport | None = None
    slot_seconds: Amount | None = None
    gpu_hours: Amount | None = None
    cost: CostReport | None = None


class End(_Message):
    """How a sweep ended, with its last report."""

    report: Report
    state: Literal[JobState.SUCCEEDED, JobState.FAILED, JobState.PAUSED, JobState.CANCELLED]
    cause: Text


class InstructionsOut(_Message):
    """What the service answers to a report."""

    requested_action: RequestedAction | None
    slots: int | None


class DriverJobOut(_Message):
    """What a driver is to run."""

    sweep_id: str
    attempt: int
    spec: str
    more_trials: int
    accept_changes: bool
    wider: dict[str, list[Any]]
