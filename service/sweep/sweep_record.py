"""A whole sweep as a frozen value, read from its folder or from a server's store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from service.study.ranking import (
    Mode,
    Ranking,
    exclude_confirmations,
    find_baseline,
    group_confirmations,
)
from service.study.records import Trial, TrialState

if TYPE_CHECKING:
    from service.spec.model import SweepSpec


class SweepState(StrEnum):
    """The state of a sweep on disk."""

    RUNNING = "running"
    INTERRUPTED = "interrupted"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A sweep with its started trials, by number.

    ``max_epochs`` is the limit of one trial's epochs; ``seconds`` is the time spent over all
    sessions.
    """

    sweep_id: str
    name: str
    state: SweepState
    seconds: float
    ranking: Ranking
    max_epochs: int
    trials: tuple[Trial, ...]

    @classmethod
    def of(
        cls,
        spec: SweepSpec,
        *,
        sweep_id: str,
        state: SweepState,
        seconds: float,
        trials: tuple[Trial, ...],
    ) -> Sweep:
        """Build the sweep of a spec."""
        return cls(
            sweep_id=sweep_id,
            name=spec.name,
            state=state,
            seconds=seconds,
            ranking=Ranking.of(spec),
            max_epochs=spec.training.max_epochs,
            trials=trials,
        )

    @property
    def metric(self) -> str:
        """The objective's metric."""
        return self.ranking.metric

    @property
    def mode(self) -> Mode:
        """Whether a low or a high objective is good."""
        return self.ranking.mode

    def of_state(self, state: TrialState) -> tuple[Trial, ...]:
        """Return the trials in one state."""
        return tuple(t for t in self.trials if t.state is state)

    @property
    def baseline(self) -> Trial | None:
        """The completed trial without regularisation, if the sweep has one."""
        return find_baseline(self.trials)

    @property
    def repeats(self) -> Mapping[int, tuple[Trial, ...]]:
        """The completed confirmations of each trial that has any, by its number."""
        return group_confirmations(self.trials)

    @property
    def searched(self) -> tuple[Trial, ...]:
        """Every trial that is not a confirmation."""
        return exclude_confirmations(self.trials)

    @property
    def best(self) -> Trial | None:
        """The sweep's answer, see :meth:`Ranking.best`."""
        return self.ranking.best(self.trials)
