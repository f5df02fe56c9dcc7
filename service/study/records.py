"""Trials and their epochs as frozen values; imports neither Optuna nor torch.

Report, summary, tracking and command line read a sweep as these records, which are built from the
study and the sweep's folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from search_spaces.values import Value
from trainables.config.anatomy import Anatomy
from trainables.config.folds import FOLD

Params = Mapping[str, Value]
Metrics = Mapping[str, float]


GAP_REPORTED = "gap_reported"
"""The side of gaps to training metrics that a user's loop has reported, and nobody measured."""


def find_gap(metrics: Metrics, name: str = "loss") -> float | None:
    """The gap of a metric: the one that was measured, else the one as reported."""
    sides = ("gap", GAP_REPORTED)
    return next((metrics[k] for side in sides if (k := f"{side}/{name}") in metrics), None)


NOT_PROMOTED = "paused, and not promoted before the search ended"
"""The reason of a trial that was paused, and overtaken by others until the end of the search."""

OUT_OF_BUDGET = "the sweep's budget was used up"
"""The reason of a trial that ended with the sweep's budget and was not pruned."""


class TrialState(StrEnum):
    """The state of a trial that has started."""

    RUNNING = "running"
    PAUSED = "paused"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"

    @property
    def has_ended(self) -> bool:
        """Whether it is final: a paused trial may go on."""
        return self not in (TrialState.RUNNING, TrialState.PAUSED)


class Role(StrEnum):
    """Why a trial exists."""

    BASELINE = "baseline"  # no regularisation at all; its control is what effects are measured from
    ENQUEUED = "enqueued"  # a point the spec named
    CONTROL = "control"  # other parameters tuned without regularisers
    SEARCH = "search"  # the sampler's choice
    REPLICATE = "replicate"  # a finalist or the control again: new seed, new division
    REMOVAL = "removal"  # a replicate of the pick without some of its parts
    AUDIT = "audit"  # a pruned trial again, to its end
    CONFIRM = "confirm"  # of sweeps before format 2: another seed on the same division


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One epoch of one trial, as measured: ``epoch`` counts from 1, ``time`` is Unix seconds.

    In a trial that is trained on several folds, one after another, it counts over all of them.
    """

    trial: int
    epoch: int
    time: float
    metrics: Metrics

    @property
    def fold(self) -> int:
        """The fold, from 1, of a trial that is trained on several; 0 of any other trial."""
        return int(self.metrics.get(FOLD, 0))


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One configuration with one seed.

    ``params`` holds what was run, the baseline's neutral values included. ``best`` holds the
    metrics at the restored weights without their ``best/`` prefix (``val/loss``, ``gap/loss``,
    ``epoch`` …), plus ``test/*`` and ``test_gap/*`` for finalists. ``violation`` is the sum of
    positive constraint excesses: 0.0 is feasible, None is not known (pruned, failed, running).
    ``started`` and ``ended`` are Unix seconds. ``confirms`` is the number of the trial that this
    one repeats, with ``seed`` instead of the spec's, in a division of the samples of its own, the
    ``replicate``-th, where 0 is the search's; its parts ``without`` are left out. An audit repeats
    a pruned trial as it was. ``redraws_test``
    marks a replicate whose test samples are others too. A training without regularisation has
    ``control``: the metrics at the epoch that early stopping would have kept. Only finalists have
    an ``anatomy`` and ``errors``, the standard errors of their gaps; ``control_anatomy`` is that at
    the control's weights. ``not_acting`` are the parts of its configuration that had no effect on
    the kept weights, known at its end. ``ran_on`` holds the device and the precision. Of a trial
    that is trained on several folds, ``folds`` has the metrics at the kept weights of each fold
    that has ended, those at its control's with the prefix ``control/``; ``best``, ``control`` and
    ``value`` are means over the folds, and the weights are the first fold's.
    """

    number: int
    state: TrialState
    role: Role
    params: Params
    value: float | None = None
    best: Metrics = field(default_factory=dict)
    stopped_epoch: int | None = None
    violation: float | None = None
    reason: str | None = None
    confirms: int | None = None
    seed: int | None = None
    replicate: int = 0
    without: tuple[str, ...] = ()
    redraws_test: bool = False
    control: Metrics = field(default_factory=dict)
    not_acting: tuple[str, ...] = ()
    folds: tuple[Metrics, ...] = ()
    anatomy: Anatomy | None = None
    control_anatomy: Anatomy | None = None
    errors: Metrics = field(default_factory=dict)
    ran_on: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    started: float | None = None
    ended: float | None = None
    epochs: tuple[Epoch, ...] = ()

    @property
    def penalty(self) -> str:
        """The penalty's name, ``none`` where the space has no penalty."""
        return str(self.params.get("penalty", "none"))

    @property
    def augmentation(self) -> str:
        """The augmentation's name, ``none`` where the space has none."""
        return str(self.params.get("augmentation", "none"))

    def series(self, metric: str) -> tuple[list[int], list[float]]:
        """Epoch numbers and values of one metric, in order, epochs without it left out."""
        points = [(e.epoch, e.metrics[metric]) for e in self.epochs if metric in e.metrics]
        return [p[0] for p in points], [p[1] for p in points]
