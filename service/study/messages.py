"""The messages between the session and a worker: a trial to run, the result of an epoch.

A worker may be another process, so messages are plain frozen values. Imports neither Optuna nor
torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from service.study.records import Metrics, Params, Role
from trainables.config.folds import FoldEpoch


@dataclass(frozen=True)
class Assignment:
    """A trial to run; ``recorded`` epochs of it have been recorded before, 0 for a new trial.

    ``seed`` is the training's where it is not the spec's. ``baseline`` marks a training without
    regularisation, to its last epoch. The samples are divided as in the ``replicate``-th division,
    where 0 is the search's, with other test samples too if ``redraws_test``; the parts ``without``
    are left out.
    """

    number: int
    params: Params
    role: Role
    recorded: int = 0
    seed: int | None = None
    baseline: bool = False
    replicate: int = 0
    without: tuple[str, ...] = ()
    redraws_test: bool = False


@dataclass(frozen=True, kw_only=True)
class EpochReport:
    """A completed epoch; ``epoch`` counts from 1.

    With the last one, ``best`` holds the metrics at the kept weights and ``control`` those at the
    control's, see :class:`service.study.records.Trial`, and ``not_acting`` names the parts without
    any effect on the former. ``ran_on`` names the device and the precision. ``fold`` is where the
    epoch is in a trial that is trained on several folds, over all of which ``epoch`` counts.
    """

    epoch: int
    metrics: Metrics
    fold: FoldEpoch | None = None
    best: Metrics | None = None
    control: Metrics = field(default_factory=dict)
    not_acting: tuple[str, ...] = ()
    ran_on: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_last(self) -> bool:
        """Whether this is the training's last epoch."""
        return self.best is not None


@dataclass(frozen=True, kw_only=True)
class TrialFailure:
    """The failure of a trial, with its reason as text.

    ``disk_full`` says that the trial is not to blame: it can continue when there is room again.
    """

    reason: str
    disk_full: bool = False
    ran_on: Mapping[str, str] = field(default_factory=dict)


Answer = EpochReport | TrialFailure


@dataclass(frozen=True)
class SlotOrders:
    """What a slot does before its next round: trials to take, and those to drop, by number."""

    take: Sequence[Assignment] = ()
    drop: Sequence[int] = ()
