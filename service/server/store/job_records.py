"""What the store returns and takes: frozen values, the same for every database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from service.client.audit_actions import AuditAction
from service.client.job_states import JobState, RequestedAction
from service.client.sweep_events import SweepEvent
from service.server.store.user_roles import TokenScope, UserRole
from service.study.events import TrialEvent
from service.study.records import Epoch, Trial
from service.sweep.cost import Cost

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class User:
    """A user; one whose ``revoked`` time is set keeps its sweeps and has no rights."""

    name: str
    role: UserRole
    created: float
    revoked: float | None = None


@dataclass(frozen=True, kw_only=True)
class ApiToken:
    """A user's token, without the token itself. Times are Unix seconds; ``expires`` None is never.

    ``last_address`` is the client's of its last use.
    """

    name: str
    user: str
    scope: TokenScope
    created: float
    expires: float | None
    last_used: float | None = None
    last_address: str | None = None


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A sweep that a user submits.

    ``spec`` is YAML with every default filled in; ``after`` are the ids of sweeps that must succeed
    before this one starts.
    """

    sweep_id: str
    name: str
    owner: str
    spec: str
    priority: int = 0
    after: tuple[str, ...] = ()
    bundle: str | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True, kw_only=True)
class Job:
    """A submitted sweep in its current state. Times are Unix seconds.

    ``attempt`` numbers its jobs on the cluster from 1 (0: none yet), ``launched`` is when the
    current one was submitted to the cluster, ``failures`` counts drivers that died, and
    ``last_heartbeat`` is when the driver last reported. ``progress`` is the driver's summary:
    counts of trials, the best trial. ``more_trials`` is the sum of all extensions. ``slots`` is how
    many trials may run at the same time now. ``accept_changes`` lets its drivers go on with other
    data, code or libraries than before. ``wider`` are the ranges that it was widened to, as
    :data:`search_spaces.widening.Wider` in JSON. ``size`` is its folder's, in bytes, as it was last
    measured.
    """

    sweep_id: str
    name: str
    owner: str
    state: JobState
    created: float
    changed: float
    spec: str
    priority: int = 0
    after: tuple[str, ...] = ()
    bundle: str | None = None
    requested_action: RequestedAction | None = None
    requested_by: str | None = None
    cause: str | None = None
    attempt: int = 0
    failures: int = 0
    more_trials: int = 0
    slots: int | None = None
    launched: float | None = None
    last_heartbeat: float | None = None
    slot_seconds: float = 0.0
    gpu_hours: float = 0.0
    progress: Mapping[str, Any] = field(default_factory=dict)
    accept_changes: bool = False
    wider: Mapping[str, Any] = field(default_factory=dict)
    size: int | None = None


@dataclass(frozen=True)
class SweepNews:
    """Whether a sweep has ended, and the number of its newest event; 0 if it has none."""

    over: bool
    newest: int


@dataclass(frozen=True)
class QueuedSweep:
    """What a queued sweep's turn depends on; ``since`` is when it was queued, in Unix seconds."""

    sweep_id: str
    owner: str
    since: float
    priority: int
    after: Sequence[str]
    failures: int
    last_heartbeat: float | None


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A user's code, named by its archive's digest; ``size`` is the archive's, in bytes."""

    digest: str
    owner: str
    size: int
    modules: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """A webhook's URL, the last event delivered to it, and the failed calls since then."""

    url: str
    event: int
    tries: int


@dataclass(frozen=True, kw_only=True)
class Transition:
    """A change of a sweep's state: when, from what to what, why and by whom."""

    time: float
    old: JobState | None
    new: JobState
    cause: str
    by: str


@dataclass(frozen=True, kw_only=True)
class SweepWithHistory:
    """A sweep with its transitions; events after this reading have numbers above ``last_event``."""

    job: Job
    history: tuple[Transition, ...]
    last_event: int


@dataclass(frozen=True, kw_only=True)
class StoredEvent:
    """An event of a sweep; ``number`` increases with time over all sweeps."""

    number: int
    sweep_id: str
    time: float
    event: SweepEvent


@dataclass(frozen=True, kw_only=True)
class DriverReport:
    """What a driver reports of its sweep. Recording it twice changes nothing.

    ``slot_seconds`` is what the trials have held so far: one second of one CPU or GPU counts 1.
    """

    trials: Sequence[Trial] = ()
    epochs: Sequence[Epoch] = ()
    events: Sequence[TrialEvent] = ()
    progress: Mapping[str, Any] | None = None
    slot_seconds: float | None = None
    gpu_hours: float | None = None
    cost: Cost | None = None


@dataclass(frozen=True, kw_only=True)
class Instructions:
    """What the store answers to a driver's report."""

    requested_action: RequestedAction | None
    slots: int | None


@dataclass(frozen=True, kw_only=True)
class AuditEntry:
    """An entry of the audit log.

    What is repeated has one entry a day: ``time`` is the first, ``last`` the last (Unix seconds),
    and ``times`` how often. ``user`` and ``token`` are names, None if nobody valid asked.
    """

    number: int
    time: float
    last: float
    times: int
    user: str | None
    token: str | None
    address: str
    action: AuditAction
    sweep: str | None
    detail: str


@dataclass(frozen=True)
class Page(Generic[T]):
    """A page of a list; ``cursor`` leads to the next page, None on the last."""

    items: tuple[T, ...]
    cursor: str | None
