"""What the API answers, as its OpenAPI document describes it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, RootModel

from service.server.store.job_records import Event, Job, Standing, Wish
from service.server.store.states import JobState
from service.study.records import Epoch, Role, Trial, TrialState


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True)


class SweepOut(_Answer):
    """A submitted sweep as it stands. Times are Unix seconds."""

    sweep_id: str = Field(examples=["digits-mlp-6b8a1b2c"])
    name: str
    owner: str
    state: JobState
    created: float
    changed: float
    priority: int
    after: tuple[str, ...]
    wish: Wish | None = Field(description="what its driver was told and has not done yet")
    cause: str | None = Field(description="why it is in this state")
    failures: int = Field(description="how often its driver died")
    slots: int | None = Field(description="how many trials it may run at once now")
    more_trials: int = Field(description="what it was extended by in all")
    bundle: str | None
    gpu_hours: float
    progress: dict[str, Any] = Field(description="counts of its trials, and the best so far")

    @classmethod
    def of(cls, job: Job) -> SweepOut:
        """From the store's record."""
        return cls.model_validate(job)


class SweepsOut(_Answer):
    """Some of the sweeps, the newest first; ``cursor`` leads to the next ones."""

    items: tuple[SweepOut, ...]
    cursor: str | None


class TransitionOut(_Answer):
    """A change of a sweep's state."""

    time: float
    old: JobState | None
    new: JobState
    cause: str
    by: str


class SweepDetails(SweepOut):
    """A sweep with its spec and every change of its state."""

    spec: str
    history: tuple[TransitionOut, ...]
    last_event: int = Field(description="the newest event's number, 0 if there is none")

    @classmethod
    def with_history(cls, found: Standing) -> SweepDetails:
        """From the store's record."""
        changes = tuple(TransitionOut.model_validate(t) for t in found.history)
        known = SweepOut.of(found.job).model_dump()
        return cls(**known, spec=found.job.spec, history=changes, last_event=found.last_event)


class TrialOut(_Answer):
    """A trial. A metric that is no number (NaN, infinite) is null."""

    number: int
    state: TrialState
    role: Role
    params: dict[str, bool | int | float | str]
    value: float | None
    best: dict[str, float | None]
    stopped_epoch: int | None
    reason: str | None
    confirms: int | None
    seed: int | None
    ran_on: dict[str, str]
    seconds: float
    ended: float | None

    @classmethod
    def of(cls, trial: Trial) -> TrialOut:
        """From the record."""
        own = {name: getattr(trial, name) for name in TrialOut.model_fields if name != "best"}
        return cls(**own, best=_numbers(trial.best))


class TrialsOut(RootModel[list[TrialOut]]):
    """A sweep's trials by number."""


class EpochOut(_Answer):
    """One epoch of a trial."""

    epoch: int
    time: float
    metrics: dict[str, float | None]

    @classmethod
    def of(cls, epoch: Epoch) -> EpochOut:
        """From the record."""
        return cls(epoch=epoch.epoch, time=epoch.time, metrics=_numbers(epoch.metrics))


class TrialCurve(_Answer):
    """A trial with its epochs."""

    trial: TrialOut
    epochs: tuple[EpochOut, ...]


class BestOut(_Answer):
    """The best trial of a sweep, and its baseline."""

    best: TrialOut
    baseline: TrialOut | None


class LogOut(_Answer):
    """A piece of a sweep's log. ``next`` is where it goes on, in bytes."""

    text: str
    next: int
    ended: bool = Field(description="whether the sweep is over, so that nothing will follow")


class BundleOut(_Answer):
    """Code that was handed in. ``size`` is the archive's, in bytes."""

    digest: str
    size: int
    modules: tuple[str, ...]


class NodeOut(_Answer):
    """A machine of the cluster."""

    name: str
    cpus: float
    gpus: float


class ClusterOut(_Answer):
    """The cluster, and how many sweeps wait for it and are on it."""

    nodes: tuple[NodeOut, ...]
    queued: int
    running: int


class EventOut(_Answer):
    """Something that happened to a sweep."""

    time: float
    kind: str
    data: dict[str, Any]

    @classmethod
    def of(cls, event: Event) -> EventOut:
        """From the record."""
        return cls.model_validate(event)


class ValidOut(_Answer):
    """A spec that would be taken, with everything filled in."""

    spec: dict[str, Any]


class Status(_Answer):
    """Whether the service is well."""

    status: str = Field(examples=["ok"])


class ProblemItem(_Answer):
    """One thing that is wrong: where, and what would be valid."""

    path: str
    message: str


class ProblemOut(_Answer):
    """What went wrong, as RFC 9457 has it."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    problems: tuple[ProblemItem, ...] = ()


def _numbers(metrics: Any) -> dict[str, float | None]:
    return {k: v if abs(v) < float("inf") else None for k, v in metrics.items()}
