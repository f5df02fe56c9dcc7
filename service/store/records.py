"""What the store gives out: frozen values, whatever database they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar

from service.store.states import JobState

T = TypeVar("T")


class RoleOfUser(StrEnum):
    """What a user may do; each may do what the one before may."""

    VIEWER = "viewer"  # look
    USER = "user"  # submit, and stop what is one's own
    ADMIN = "admin"  # stop anything, make users

    def covers(self, other: RoleOfUser) -> bool:
        """Whether it may do what the other may."""
        order = list(RoleOfUser)
        return order.index(self) >= order.index(other)


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

    ``turn`` counts its jobs on the cluster and ``failures`` those that died; ``heard`` is when its
    driver last gave a sign; ``progress`` is what the driver says of it (counts, the best trial).
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
    heard: float | None = None
    slot_seconds: float = 0.0
    gpu_hours: float = 0.0
    progress: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Transition:
    """A change of state: when, from what to what, why and by whom."""

    time: float
    old: JobState | None
    new: JobState
    cause: str
    by: str


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened to a sweep; ``number`` grows with time over all sweeps."""

    number: int
    sweep_id: str
    time: float
    kind: str
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some of a list, and where the next part begins, if there is one."""

    items: tuple[T, ...]
    cursor: str | None
