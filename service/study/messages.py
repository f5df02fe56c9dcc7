"""What the session and a worker tell each other: a trial to run, how an epoch went.

A worker may be another process: these are plain frozen values. Imports no Optuna and no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from service.study.records import Metrics, Params, Role


@dataclass(frozen=True)
class Assignment:
    """A trial to run; ``recorded`` epochs of it are known already, 0 for a new one.

    ``seed`` is the training's where it is not the spec's. ``baseline`` marks the configuration
    without regularisation: the trial of that role, and those that confirm it.
    """

    number: int
    params: Params
    role: Role
    recorded: int = 0
    seed: int | None = None
    baseline: bool = False


@dataclass(frozen=True, kw_only=True)
class EpochReport:
    """An epoch that went well, ``epoch`` counting from 1.

    With the last one, ``best`` holds the metrics at the kept weights, see
    :attr:`service.study.records.Trial.best`. ``ran_on`` names the device and the precision.
    """

    epoch: int
    metrics: Metrics
    best: Metrics | None = None
    ran_on: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_last(self) -> bool:
        """Whether the training has ended by itself."""
        return self.best is not None


@dataclass(frozen=True, kw_only=True)
class TrialFailure:
    """The end of a trial that went wrong, with the reason in words."""

    reason: str
    ran_on: Mapping[str, str] = field(default_factory=dict)


Answer = EpochReport | TrialFailure
