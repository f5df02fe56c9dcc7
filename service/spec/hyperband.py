"""Hyperband whose brackets exist before the first trial."""

from __future__ import annotations

from optuna.pruners import HyperbandPruner


class PreparedHyperbandPruner(HyperbandPruner):
    """Optuna's pruner, which makes its brackets when it is built.

    Optuna's own makes them at the first decision to prune. Until then a sampler is shown the trials
    of all brackets instead of the trial's own: a resumed sweep would be suggested other points than
    an undisturbed one.
    """

    def __init__(self, min_resource: int, max_resource: int, reduction_factor: int) -> None:
        """Make the brackets.

        ``HyperbandPruner`` of Optuna 5.0 reads the study only where ``max_resource`` is not given.
        """
        super().__init__(min_resource, max_resource, reduction_factor)
        self._try_initialization(None)  # type: ignore[arg-type] # the study is not read
