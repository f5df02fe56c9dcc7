"""Learning-rate schedules: a factor per epoch, as pure functions."""

from __future__ import annotations

import math
from typing import Any, Literal

from trainables.config.imports import ImportPath
from trainables.config.registry import Component, Custom, Registry


class ScheduleConfig(Component):
    """A schedule of the learning rate and its options. A subclass defines :meth:`factor`."""

    def factor(self, epoch: int, max_epochs: int) -> float:
        """The factor of ``training.lr`` in an epoch, from 0 to ``max_epochs`` − 1."""
        raise NotImplementedError


class CustomSchedule(ScheduleConfig, Custom):
    """A user-defined function of `epoch` and `max_epochs`, or a class of such callables."""

    name: ImportPath

    def factor(self, epoch: int, max_epochs: int) -> float:
        """The factor that the user's function returns.

        Raises:
            ContractError: it cannot be imported or does not accept an option.
        """
        made: Any = self.create(epoch=epoch, max_epochs=max_epochs)
        return float(made(epoch, max_epochs) if callable(made) else made)


schedules: Registry[ScheduleConfig] = Registry("schedule", CustomSchedule, group="schedules")


@schedules.register
class Constant(ScheduleConfig):
    """A constant learning rate."""

    name: Literal["constant"]

    def factor(self, epoch: int, max_epochs: int) -> float:
        """Always 1."""
        return 1.0


@schedules.register
class Cosine(ScheduleConfig):
    """Cosine annealing from 1 to 0 over ``max_epochs`` (Loshchilov & Hutter 2017, no restarts)."""

    name: Literal["cosine"] = "cosine"

    def factor(self, epoch: int, max_epochs: int) -> float:
        """Half a period of a cosine."""
        return 0.5 * (1 + math.cos(math.pi * epoch / max_epochs))
