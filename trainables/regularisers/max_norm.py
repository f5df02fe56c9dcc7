"""An upper bound on the norm of every unit's weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

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
        self._exceeded: Tensor | None = None
        self._since: int | None = None

    def after_step(self, now: Now) -> None:
        """Project the units whose norm exceeds the bound."""
        exceeded = apply_max_norm(self.subject.weights, self._limit)
        self._exceeded = exceeded if self._exceeded is None else self._exceeded | exceeded

    def after_epoch(self, epoch: int) -> None:
        """Note the first epoch in which a unit exceeded the bound."""
        if self._since is None and self._exceeded is not None and bool(self._exceeded):
            self._since = epoch

    def acted(self, epoch: int) -> bool:
        """Whether a unit has exceeded the bound."""
        return self._since is not None and self._since <= epoch

    def state_dict(self) -> dict[str, Any]:
        """The first epoch in which it acted."""
        return {"since": self._since}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state."""
        self._since = state["since"]
