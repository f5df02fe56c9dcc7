"""What the store gives out: frozen values, whatever database they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar

from service.server.store.roles import RoleOfUser
from service.server.store.states import JobState
from service.study.records import Epoch, Trial

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class User:
    """Somebody with a name; ``revoked`` users keep their sweeps and lose every right."""

    name: str
    role: RoleOfUser
    created: float
    revoked: float | None = None


@dataclass(frozen=True, kw_only=True)
class Submission:
    """What a user hands in. ``spec`` is YAML as run; ``after`` are the sweeps to wait for."""

    sweep_id: str
    name: str
    owner: str
    spec: str
    priority: int = 0
    after: tuple[str, ...] = ()
    bundle: str | None = None
    idempotency_key: str | None = None


class Wish(StrEnum):
    """What a user wants of a sweep that is on the cluster; the reconciler sees to it."""

    PAUSE = "pause"
    CANCEL = "cancel"


@dataclass(frozen=True, kw_only=True)
class Job:
    """A submitted sweep as it stands.

    ``turn`` counts its jobs on the cluster, ``launched`` is when the last one was handed over, and
    ``failures`` counts those that died; ``heard`` is when its driver last gave a sign;
    ``progress`` is what the driver says of it (counts, the best trial). ``more_trials`` is what it
    was extended by in all. ``slots`` is how many trials it may run at once now.
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
    wish: Wish | None = None
    wished_by: str | None = None
    cause: str | None = None
    turn: int = 0
    failures: int = 0
    more_trials: int = 0
    slots: int | None = None
    launched: float | None = None
    heard: float | None = None
    slot_seconds: float = 0.0
    gpu_hours: float = 0.0
    progress: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A user's code, named by its archive's digest; ``size`` is the archive's, in bytes."""

    digest: str
    owner: str
    size: int
    modules: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Hook:
    """An address that is called, the last event it took, and the calls it missed since."""

    url: str
    event: int
    tries: int


@dataclass(frozen=True, kw_only=True)
class Transition:
    """A change of state: when, from what to what, why and by whom."""

    time: float
    old: JobState | None
    new: JobState
    cause: str
    by: str


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A sweep with its history; what happens from here on has numbers above ``last_event``."""

    job: Job
    history: tuple[Transition, ...]
    last_event: int


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened to a sweep; ``number`` grows with time over all sweeps."""

    number: int
    sweep_id: str
    time: float
    kind: str
    data: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Happening:
    """An event to be; of those with the same ``key`` a sweep has one."""

    kind: str
    data: Mapping[str, Any]
    key: str | None = None


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a driver has to tell of its sweep. Told twice, it is the same.

    ``slot_seconds`` is what its trials held so far, one second of one CPU or GPU each.
    """

    trials: Sequence[Trial] = ()
    epochs: Sequence[Epoch] = ()
    happenings: Sequence[Happening] = ()
    progress: Mapping[str, Any] | None = None
    slot_seconds: float | None = None
    gpu_hours: float | None = None


@dataclass(frozen=True, kw_only=True)
class Instructions:
    """What a driver is told in return."""

    wish: Wish | None
    slots: int | None


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some of a list, and where the next part begins, if there is one."""

    items: tuple[T, ...]
    cursor: str | None
