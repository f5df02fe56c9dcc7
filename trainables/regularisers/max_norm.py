"""An upper bound on the norm of every unit's weights."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from trainables.config import regularisers as config
from trainables.regularisers.base import Now, Regulariser, Subject
from trainables.regularisers.penalty_steps import apply_max_norm
from trainables.regularisers.weights import have_units_in_rows


class MaxNorm(Regulariser):
    """Projects the weights after every step. Srivastava et al. 2014, section 5.1."""

    order = 30
    acts_on_weights = True
    reads_gradients = False

    def __init__(self, config: config.MaxNorm) -> None:
        assert config.max_norm is not None
        self._limit = torch.tensor(config.max_norm)
        self._exceeded: Tensor | None = None
        self._since: int | None = None

    def describe_update(self) -> Hashable | None:
        """The weights that it acts on."""
        joins = type(self) is MaxNorm and have_units_in_rows(self.subject.weights)
        return tuple(w.name for w in self.subject.weights) if joins else None

    def join(self, others: Sequence[MaxNorm], subject: Subject) -> MaxNorm:
        """One with the bound of each, ``(L, 1)``, which notes for each what it exceeded."""
        made, each = copy.copy(self), (self, *others)
        device = subject.weights[0].weight.device
        limits = torch.stack([o._limit for o in each]).unsqueeze(1)
        made.subject, made._limit = subject, limits.to(device)
        noted = [o._exceeded if o._exceeded is not None else torch.tensor(False) for o in each]
        made._exceeded = torch.stack([one.to(device) for one in noted])
        for one, row in zip(each, made._exceeded, strict=True):
            one._exceeded = row
        return made

    def after_step(self, now: Now) -> None:
        """Project the units whose norm exceeds the bound."""
        exceeded = apply_max_norm(self.subject.weights, self._limit)
        if self._exceeded is None:
            self._exceeded = exceeded
        else:
            self._exceeded.logical_or_(exceeded)

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
