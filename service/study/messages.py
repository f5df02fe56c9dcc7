"""The messages between the session and a worker: a trial to run, the result of an epoch.

A worker may be another process, so messages are plain frozen values. Imports neither Optuna nor
torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from service.study.records import Metrics, Params, Role


@dataclass(frozen=True)
class Assignment:
    """A trial to run; ``recorded`` epochs of it have been recorded before, 0 for a new trial.

    ``seed`` is the seed of the training if it differs from the spec's. ``baseline`` marks the
    configuration without regularisation: the trial of that role, and those that confirm it.
    """

    number: int
    params: Params
    role: Role
    recorded: int = 0
    seed: int | None = None
    baseline: bool = False


@dataclass(frozen=True, kw_only=True)
class EpochReport:
    """A completed epoch; ``epoch`` counts from 1.

    In the last report, ``best`` holds the metrics at the kept weights, see
    :attr:`service.study.records.Trial.best`. ``ran_on`` names the device and the precision.
    """

    epoch: int
    metrics: Metrics
    best: Metrics | None = None
    ran_on: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_last(self) -> bool:
        """Whether this is the training's last epoch."""
        return self.best is not None


@dataclass(frozen=True, kw_only=True)
class TrialFailure:
    """The failure of a trial, with its reason as text."""

    reason: str
    ran_on: Mapping[str, str] = field(default_factory=dict)


Answer = EpochReport | TrialFailure
