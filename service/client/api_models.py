"""The models of the API's responses, shared by server and client."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

from service.base.json_numbers import Number
from service.client.job_states import JobState, RequestedAction
from service.study.records import Epoch, Role, Trial, TrialState
from service.sweep.answer import Answer


class _Response(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True)


class MeOut(_Response):
    """Whose token the request has.

    ``sweep`` is the role of a running sweep's own token, which its driver has; ``name`` is then the
    sweep's id. ``service`` is the role of the service itself, towards MLflow.
    """

    name: str = Field(examples=["ann"])
    role: Literal["viewer", "user", "admin", "sweep", "service"] = Field(
        description="whose rights the token gives: at most its user's role, and its scope"
    )
    sweep_id: str | None = Field(None, description="of a sweep's token: the sweep")
    token: str | None = Field(None, description="the name of a user's token")
    scope: Literal["read", "submit", "admin"] | None = Field(None, description="of a user's token")
    expires: float | None = Field(None, description="Unix seconds; null: never, or a sweep's")


class LimitOut(_Response):
    """How much of something a user has, and the most that a user may have; null is no limit."""

    used: int
    limit: int | None


class CostOut(_Response):
    """What trials have cost so far: their seconds, times the CPUs or GPUs of all their workers."""

    search_cpu_seconds: float = 0.0
    search_gpu_seconds: float = 0.0
    confirmation_cpu_seconds: float = 0.0
    confirmation_gpu_seconds: float = 0.0


class UserOut(_Response):
    """A user, and what it has beside the limits. Times are Unix seconds."""

    name: str = Field(examples=["ann"])
    role: Literal["viewer", "user", "admin"]
    created: float
    revoked: float | None = Field(description="since when it has no rights")
    running: LimitOut = Field(description="sweeps on the cluster; more wait in the queue")
    queued: LimitOut = Field(description="sweeps in the queue")
    streams: LimitOut = Field(description="streams of events that the answering server has open")
    stored_bytes: LimitOut = Field(
        description="folders of sweeps, as last measured, and archives of code"
    )
    cost: CostOut = Field(CostOut(), description="of all its sweeps, deleted ones included")


class SweepOut(_Response):
    """A submitted sweep in its current state. Times are Unix seconds."""

    sweep_id: str = Field(examples=["digits-mlp-6b8a1b2c"])
    name: str
    owner: str
    state: JobState
    created: float
    changed: float
    priority: int
    after: tuple[str, ...]
    requested_action: RequestedAction | None = Field(
        description="an action that a user requested and the driver has not done yet"
    )
    cause: str | None = Field(description="why it is in this state")
    attempt: int = Field(description="number of the current or last driver, from 1; 0 before")
    last_heartbeat: float | None = Field(description="when its driver last reported")
    failures: int = Field(description="how many of its drivers died")
    slots: int | None = Field(description="how many trials it may run at the same time now")
    more_trials: int = Field(description="by how many trials it was extended in total")
    bundle: str | None
    gpu_hours: float
    size: int | None = Field(None, description="bytes of its folder, as last measured")
    progress: dict[str, Any] = Field(description="counts of its trials, and the best so far")


class SweepsOut(_Response):
    """A page of sweeps, the newest first; ``cursor`` leads to the next page."""

    items: tuple[SweepOut, ...]
    cursor: str | None


class TransitionOut(_Response):
    """A transition of a sweep's state."""

    time: float
    old: JobState | None
    new: JobState
    cause: str
    by: str


class SweepDetails(SweepOut):
    """A sweep with its spec, its history and its cost."""

    spec: str
    cost: CostOut = CostOut()
    history: tuple[TransitionOut, ...]
    last_event: int = Field(description="the number of the newest event; 0 if there is none")


class TrialOut(_Response):
    """A trial."""

    number: int
    state: TrialState
    role: Role
    params: dict[str, bool | int | float | str | tuple[Any, ...] | None]
    value: float | None
    best: dict[str, Number]
    stopped_epoch: int | None
    reason: str | None
    confirms: int | None = Field(description="of a replicate: the trial that it repeats")
    replicate: int = Field(description="of which division of the samples; 0 is the search's")
    without: tuple[str, ...] = Field(description="parts of the configuration that are left out")
    not_acting: tuple[str, ...] = Field((), description="parts without effect on the kept weights")
    folds: tuple[dict[str, Number], ...] = Field(
        (), description="metrics at the kept weights of each fold, of a trial that has folds"
    )
    seed: int | None
    ran_on: dict[str, str]
    seconds: float
    ended: float | None

    @classmethod
    def of(cls, trial: Trial) -> TrialOut:
        """From the record."""
        return cls(**{name: getattr(trial, name) for name in TrialOut.model_fields})


class TrialsOut(RootModel[list[TrialOut]]):
    """A sweep's trials by number."""


class EpochOut(_Response):
    """One epoch of a trial."""

    epoch: int
    time: float
    metrics: dict[str, Number]

    @classmethod
    def of(cls, epoch: Epoch) -> EpochOut:
        """From the record."""
        return cls(epoch=epoch.epoch, time=epoch.time, metrics=dict(epoch.metrics))


class TrialCurve(_Response):
    """A trial with its epochs."""

    trial: TrialOut
    epochs: tuple[EpochOut, ...]


class BestOut(_Response):
    """The best trial of a sweep, its baseline, and the answer, once the sweep has ended."""

    best: TrialOut
    baseline: TrialOut | None
    answer: Answer | None = None


class LogOut(_Response):
    """A part of a sweep's log. ``next`` is the offset of the next part, in bytes."""

    text: str
    next: int
    ended: bool = Field(description="whether the sweep has ended, so that the log is complete")


class BundleOut(_Response):
    """An uploaded bundle of code. ``size`` is the archive's, in bytes."""

    digest: str
    size: int
    modules: tuple[str, ...]


class NodeOut(_Response):
    """A machine of the cluster."""

    name: str
    cpus: float
    gpus: float


class ClusterOut(_Response):
    """The cluster, and the numbers of queued and active sweeps."""

    nodes: tuple[NodeOut, ...]
    queued: int
    running: int


class ValidOut(_Response):
    """A valid spec with all defaults filled in."""

    spec: dict[str, Any]


class Status(_Response):
    """The health of the service."""

    status: str = Field(examples=["ok"])


class ProblemItem(_Response):
    """One problem of a spec or request: where it is, and what would be valid."""

    path: str
    message: str


class ProblemOut(_Response):
    """A problem document (RFC 9457)."""

    type: str = Field("about:blank", examples=["urn:problem-type:gapsweep:sweep-not-found"])
    title: str
    status: int
    detail: str
    problems: tuple[ProblemItem, ...] = ()
