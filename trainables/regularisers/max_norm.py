"""An upper bound on the norm of every unit's weights."""

from __future__ import annotations

import torch

from trainables.config import regularisers as config
from trainables.regularisers.base import Now, Regulariser
from trainables.regularisers.penalty_steps import apply_max_norm


class MaxNorm(Regulariser):
    """Projects the weights after every step. Srivastava et al. 2014, section 5.1."""

    order = 30
    acts_on_weights = True

    def __init__(self, config: config.MaxNorm) -> None:
        assert config.max_norm is not None
        self._limit = torch.tensor(config.max_norm)

    def after_step(self, now: Now) -> None:
        """Project the units whose norm exceeds the bound."""
        apply_max_norm(self.subject.weights, self._limit)
