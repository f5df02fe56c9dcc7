"""A quasi-Monte Carlo sampler whose points follow from the trials' numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from optuna.samplers import QMCSampler

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial


class NumberedQmcSampler(QMCSampler):
    """Optuna's sampler, with the point of the sequence that has the trial's number.

    Optuna's own takes the next point whenever it is asked, also again for the same trial.
    """

    _number = 0

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The point of the trial in the space."""
        self._number = trial.number
        return super().sample_relative(study, trial, dict(search_space))

    def _find_sample_id(self, study: Study, search_space: dict[str, BaseDistribution]) -> int:
        """The index in the sequence; ``QMCSampler`` of Optuna 5.0 calls it for every point."""
        return self._number
