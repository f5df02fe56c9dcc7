"""Schedules of the learning rate: a factor an epoch, by pure functions."""

from __future__ import annotations

import math
from typing import Any, Literal

from trainables.config.imports import ImportPath
from trainables.config.registry import Component, Custom, Registry


class ScheduleConfig(Component):
    """A schedule of the learning rate and its options. A subclass defines :meth:`factor`."""

    def factor(self, epoch: int, max_epochs: int) -> float:
        """What ``training.lr`` is multiplied by in an epoch, from 0 to ``max_epochs`` − 1."""
        raise NotImplementedError


class CustomSchedule(ScheduleConfig, Custom):
    """A function of yours of `epoch` and `max_epochs`, or a class whose objects are such."""

    name: ImportPath

    def factor(self, epoch: int, max_epochs: int) -> float:
        """The user's.

        Raises:
            ContractError: it cannot be imported or does not take an option.
        """
        made: Any = self.create(epoch=epoch, max_epochs=max_epochs)
        return float(made(epoch, max_epochs) if callable(made) else made)


schedules: Registry[ScheduleConfig] = Registry("schedule", CustomSchedule, group="schedules")


@schedules.register
class Constant(ScheduleConfig):
    """The same rate in every epoch."""

    name: Literal["constant"]

    def factor(self, epoch: int, max_epochs: int) -> float:
        """1."""
        return 1.0


@schedules.register
class Cosine(ScheduleConfig):
    """Annealed from 1 to 0 over ``max_epochs`` (Loshchilov & Hutter 2017, without restarts)."""

    name: Literal["cosine"] = "cosine"

    def factor(self, epoch: int, max_epochs: int) -> float:
        """Half a cosine's period."""
        return 0.5 * (1 + math.cos(math.pi * epoch / max_epochs))
