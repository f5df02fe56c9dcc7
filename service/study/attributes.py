"""The attributes that gapsweep stores in a study beside Optuna's own: per trial, and per study.

No other module reads or writes a study's ``user_attrs``. A released key keeps its name and its
meaning, so that every existing study can be opened; a missing key has the field's default.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, Self

import optuna
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as StudyTrialState

from search_spaces.values import freeze, thaw
from service.study.attribution import Record
from service.study.records import Metrics, Params, Role
from trainables.config.anatomy import Anatomy

Stored = Mapping[str, Any]
"""Attributes in their JSON form."""


def _define_storage(
    *,
    key: str = "",
    load: Callable[[Any], Any] = lambda value: value,
    dump: Callable[[Any], Any] = lambda value: value,
) -> dict[str, Any]:
    """Build a field's metadata: its ``key`` if that is not its name, and its JSON conversion."""
    return {"key": key, "load": load, "dump": dump}


_PAIR = _define_storage(
    load=lambda value: None if value is None else tuple(value),
    dump=lambda value: None if value is None else list(value),
)


def _load_params(stored: Stored | None) -> Params | None:
    return None if stored is None else {name: freeze(value) for name, value in stored.items()}


def _dump_params(params: Params | None) -> Stored | None:
    return None if params is None else {name: thaw(value) for name, value in params.items()}


_PARAMS = _define_storage(load=_load_params, dump=_dump_params)


@dataclass(frozen=True, kw_only=True)
class _Attributes:
    """Reads and writes its fields by their metadata."""

    @classmethod
    def load(cls, stored: Stored) -> Self:
        """Read the attributes from their stored form; unknown keys are ignored."""
        known = _list_fields(cls)
        return cls(**{f.name: f.load(stored[f.key]) for f in known if f.key in stored})

    def dump(self) -> dict[str, Any]:
        """Return all values by key, in their stored form."""
        return {f.key: f.dump(getattr(self, f.name)) for f in _list_fields(type(self))}

    def find_changes(self, stored: Stored) -> dict[str, Any]:
        """Return the values that differ from ``stored``, by key; a missing key has its default."""
        values = ((f, f.dump(getattr(self, f.name))) for f in _list_fields(type(self)))
        return {f.key: value for f, value in values if value != stored.get(f.key, f.default)}


class _Field(NamedTuple):
    name: str
    key: str
    load: Callable[[Any], Any]
    dump: Callable[[Any], Any]
    default: Any


_FIELDS: dict[type[Any], Sequence[_Field]] = {}


def _list_fields(kind: type[Any]) -> Sequence[_Field]:
    """The fields of a class, which are read once: a replay stores attributes thousands of times."""
    if kind not in _FIELDS:
        empty, found = kind(), ((f.name, f.metadata) for f in fields(kind))
        _FIELDS[kind] = [
            _Field(name, m["key"] or name, m["load"], m["dump"], m["dump"](getattr(empty, name)))
            for name, m in found
        ]
    return _FIELDS[kind]


@dataclass(frozen=True, kw_only=True)
class TrialAttributes(_Attributes):
    """The attributes of a trial.

    ``params`` is what was run, known when the trial has started; ``fixed`` are values that a
    queued trial takes instead of the sampler's. ``baseline`` marks a training without
    regularisation, to its last epoch. The other fields are those of
    :class:`service.study.records.Trial`;
    ``seconds`` and ``attempts`` count over all sessions, and so do the interruptions, see
    :class:`service.study.attribution.Record`. ``handed_out`` has the epochs that were recorded when
    the trial was last handed out, its own and those of all others; None after a clean stop. A
    ``paused`` trial is RUNNING for Optuna and in nobody's hands; ``promoted`` is the epoch from
    which it last went on after a pause. ``repeats`` is 1 if the point that was drawn first was
    trained already, and another one was taken.
    ``batch`` is set for a replicate: the first number and the size of those queued together.
    """

    role: Role = field(default=Role.SEARCH, metadata=_define_storage(load=Role, dump=str))
    params: Params | None = field(default=None, metadata=_PARAMS)
    fixed: Params = field(default_factory=dict, metadata=_PARAMS)
    baseline: bool = field(default=False, metadata=_define_storage(key="unregularised"))
    confirms: int | None = field(default=None, metadata=_define_storage())
    seed: int | None = field(default=None, metadata=_define_storage())
    replicate: int = field(default=0, metadata=_define_storage(load=int))
    without: tuple[str, ...] = field(default=(), metadata=_define_storage(load=tuple, dump=list))
    redraws_test: bool = field(default=False, metadata=_define_storage())
    attempts: int = field(default=1, metadata=_define_storage(load=int))
    crashes: int = field(default=0, metadata=_define_storage(load=int))
    idle: int = field(default=0, metadata=_define_storage(load=int))
    stalls: int = field(default=0, metadata=_define_storage(load=int))
    handed_out: tuple[int, int] | None = field(default=None, metadata=_PAIR)
    promoted: int = field(default=0, metadata=_define_storage(load=int))
    paused: bool = field(default=False, metadata=_define_storage())
    repeats: int = field(default=0, metadata=_define_storage(load=int))
    batch: tuple[int, int] | None = field(default=None, metadata=_PAIR)
    control: Metrics = field(default_factory=dict, metadata=_define_storage(dump=dict))
    best: Metrics = field(default_factory=dict, metadata=_define_storage(dump=dict))
    not_acting: tuple[str, ...] = field(default=(), metadata=_define_storage(load=tuple, dump=list))
    stopped_epoch: int | None = field(default=None, metadata=_define_storage())
    folds: tuple[Metrics, ...] = field(
        default=(), metadata=_define_storage(load=tuple, dump=lambda value: [*map(dict, value)])
    )
    ran_on: Mapping[str, str] = field(default_factory=dict, metadata=_define_storage(dump=dict))
    reason: str | None = field(default=None, metadata=_define_storage())
    seconds: float = field(default=0.0, metadata=_define_storage(load=float))

    @classmethod
    def of(cls, trial: FrozenTrial | optuna.Trial) -> TrialAttributes:
        """Read the attributes of a trial."""
        return cls.load(trial.user_attrs)

    @property
    def interruptions(self) -> Record:
        """What is known of the trial's interruptions."""
        return Record(crashes=self.crashes, idle=self.idle, stalls=self.stalls)

    @property
    def is_control(self) -> bool:
        """Whether others are compared with it."""
        return self.baseline or self.role in (Role.BASELINE, Role.CONTROL)

    def dump_changed(self) -> dict[str, Any]:
        """Return all values that are not defaults, for a trial that is queued."""
        return self.find_changes({})

    def store(self, trial: optuna.Trial) -> None:
        """Write the changed values to a running trial, and its role even if it is the default."""
        stored = trial.user_attrs
        role = {} if "role" in stored else {"role": self.role.value}
        for key, value in {**role, **self.find_changes(stored)}.items():
            trial.set_user_attr(key, value)


def is_paused(trial: FrozenTrial) -> bool:
    """Whether a trial is paused; it may go on. As cheap as it can be, for all trials of a study."""
    return trial.state is StudyTrialState.RUNNING and bool(trial.user_attrs.get("paused", False))


def find_promotion(trial: FrozenTrial) -> int:
    """The epoch from which a trial went on when it was last paused, 0 if it never was."""
    return int(trial.user_attrs.get("promoted", 0))


def find_role(trial: FrozenTrial) -> Role:
    """Why a trial exists."""
    return Role(trial.user_attrs.get("role", Role.SEARCH))


def find_fixed(trial: FrozenTrial) -> Mapping[str, Any]:
    """The values that a trial was queued with, as they are stored."""
    found: Mapping[str, Any] = trial.user_attrs.get("fixed", {})
    return found


def count_repeats(trial: FrozenTrial) -> int:
    """1 if a trial got another point than the one drawn first, which was trained already."""
    return int(trial.user_attrs.get("repeats", 0))


def is_replicate(trial: FrozenTrial) -> bool:
    """Whether a trial repeats another one."""
    return trial.user_attrs.get("confirms") is not None


@dataclass(frozen=True)
class Finding:
    """What the end of a sweep measured on a finalist: test metrics, gaps' errors, its anatomy.

    ``control`` is the anatomy at the epoch that early stopping would have kept, of a training that
    has such weights.

    It is stored in the study, because Optuna adds no attributes to a finished trial.
    """

    metrics: Metrics
    anatomy: Anatomy
    errors: Metrics = field(default_factory=dict)
    control: Anatomy | None = None


def _load_findings(stored: Mapping[str, Any]) -> dict[int, Finding]:
    return {
        int(number): Finding(
            found["metrics"],
            Anatomy.from_dict(found["anatomy"]),
            found.get("errors", {}),
            Anatomy.from_dict(found["control"]) if "control" in found else None,
        )
        for number, found in stored.items()
    }


def _dump_findings(findings: Mapping[int, Finding]) -> dict[str, Any]:
    return {
        str(number): {
            "metrics": dict(found.metrics),
            "anatomy": found.anatomy.to_dict(),
            "errors": dict(found.errors),
            **({"control": found.control.to_dict()} if found.control else {}),
        }
        for number, found in findings.items()
    }


@dataclass(frozen=True, kw_only=True)
class StudyAttributes(_Attributes):
    """The attributes of a study.

    ``not_neutral`` says what regularises the baseline all the same, ``ranges`` what the ranges of λ
    mean (None: not measured), ``idle_ranges`` which of them cannot act. ``budget`` is how many
    trials the search may start, None before the study is prepared; it was prepared for ``planned``
    ones. ``seconds`` is the time spent over all sessions. The ``…_before_extension`` are what was
    used when the sweep was last given more trials: budgets count from there. ``clocked`` is
    the Unix time up to which the seconds of a sweep are counted whose trials loops elsewhere ask
    for. ``looks`` are the
    tests that were made on test samples, ``answer`` is what they came to, ``inspection`` what the
    networks are like beside their scores, all as JSON. ``space`` is the space that is sampled, as
    JSON: the spec's, its automatic ranges computed, and widened
    where the sweep was extended with wider ranges. ``search_end`` is why the search ended before
    its budget, of which ``unused`` trials go to the confirmation. Studies of older versions have
    neither ``planned`` nor ``space``: they sample the spec's.
    """

    budget: int | None = field(default=None, metadata=_define_storage(load=int))
    planned: int | None = field(default=None, metadata=_define_storage())
    seconds: float = field(default=0.0, metadata=_define_storage(load=float))
    seconds_before_extension: float = field(default=0.0, metadata=_define_storage(load=float))
    gpu_seconds_before_extension: float = field(default=0.0, metadata=_define_storage(load=float))
    trainings_before_extension: int = field(default=0, metadata=_define_storage(load=int))
    audits_before_extension: int = field(default=0, metadata=_define_storage(load=int))
    search_end: str | None = field(default=None, metadata=_define_storage())
    unused: int = field(default=0, metadata=_define_storage(load=int))
    space: Stored | None = field(default=None, metadata=_define_storage())
    ranges: tuple[str, ...] | None = field(
        default=None,
        metadata=_define_storage(
            load=lambda value: None if value is None else tuple(value),
            dump=lambda value: None if value is None else list(value),
        ),
    )
    idle_ranges: tuple[str, ...] = field(
        default=(), metadata=_define_storage(load=tuple, dump=list)
    )
    not_neutral: tuple[str, ...] = field(
        default=(), metadata=_define_storage(load=tuple, dump=list)
    )
    looks: Sequence[Stored] = field(default=(), metadata=_define_storage(load=tuple, dump=list))
    clocked: float | None = field(default=None, metadata=_define_storage())
    answer: Stored | None = field(default=None, metadata=_define_storage())
    inspection: Stored | None = field(default=None, metadata=_define_storage())
    findings: Mapping[int, Finding] = field(
        default_factory=dict,
        metadata=_define_storage(key="finalists", load=_load_findings, dump=_dump_findings),
    )

    @classmethod
    def of(cls, study: optuna.Study) -> StudyAttributes:
        """Read the attributes of a study."""
        return cls.load(study.user_attrs)

    def store(self, study: optuna.Study) -> None:
        """Write the changed values to the study."""
        for key, value in self.find_changes(study.user_attrs).items():
            study.set_user_attr(key, value)
