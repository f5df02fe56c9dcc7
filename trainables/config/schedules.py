"""Learning-rate schedules: factors of the rate over a training, as pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from search_spaces.bounds import Amount, Bounds, Epochs, MaxItems, SomeEpochs
from trainables.config.imports import ImportPath
from trainables.config.registry import Component, Custom, Registry

Interval = Literal["epoch", "step"]
Share = Annotated[float, Field(ge=0, le=1)]
Gamma = Annotated[float, Field(gt=0, le=1)]


class ScheduleConfig(Component):
    """A schedule of the learning rate and its options. A subclass defines :meth:`scale`."""

    @property
    def counts_steps(self) -> bool:
        """Whether positions are steps of the optimiser; otherwise they are epochs."""
        return False

    def list_falls(self) -> Mapping[str, int]:
        """The options that say after how many epochs the rate falls at the earliest."""
        return {}

    def scale(self, position: int, length: int) -> float:
        """The factor of the rate at a position of the training, from 0 to ``length`` − 1."""
        raise NotImplementedError


class CustomSchedule(ScheduleConfig, Custom):
    """A user-defined function of `epoch` and `max_epochs`, or a class of such callables."""

    name: ImportPath

    def scale(self, position: int, length: int) -> float:
        """The factor that the user's function returns.

        Raises:
            ContractError: it cannot be imported or does not accept an option.
        """
        made: Any = self.create(epoch=position, max_epochs=length)
        return float(made(position, length) if callable(made) else made)


schedules: Registry[ScheduleConfig] = Registry("schedule", CustomSchedule, group="schedules")


class _Counted(ScheduleConfig):
    interval: Interval = Field("epoch", description="how often the rate changes")

    @property
    def counts_steps(self) -> bool:
        """By ``interval``."""
        return self.interval == "step"


@schedules.register
class Constant(ScheduleConfig):
    """A constant learning rate."""

    name: Literal["constant"]

    def scale(self, position: int, length: int) -> float:
        """Always 1."""
        return 1.0


@schedules.register
class Cosine(_Counted):
    """Cosine annealing from 1 to 0 over ``max_epochs`` (Loshchilov & Hutter 2017, no restarts)."""

    name: Literal["cosine"] = "cosine"
    end_factor: Share = Field(0.0, description="where it ends, as a share of `lr`")

    def scale(self, position: int, length: int) -> float:
        """Half a period of a cosine."""
        share = 0.5 * (1 + math.cos(math.pi * position / length))
        return self.end_factor + (1 - self.end_factor) * share


@schedules.register
class Linear(_Counted):
    """A straight line from 1 to 0 over ``max_epochs``."""

    name: Literal["linear"]
    end_factor: Share = Field(0.0, description="where it ends, as a share of `lr`")

    def scale(self, position: int, length: int) -> float:
        """The line."""
        return 1 - (1 - self.end_factor) * position / length


@schedules.register
class Step(ScheduleConfig):
    """Falls by ``gamma`` every ``step_size`` epochs, or at each of the ``milestones``."""

    name: Literal["step"]
    gamma: Gamma = 0.1
    step_size: SomeEpochs | None = Field(
        None, description="epochs between two falls; default: a third of `max_epochs`"
    )
    milestones: Annotated[tuple[Epochs, ...], MaxItems(1_000)] = Field(
        (), description="epochs after which it falls, instead of `step_size`"
    )

    @model_validator(mode="after")
    def _check_choice(self) -> Step:
        if self.step_size is not None and self.milestones:
            raise ValueError("give `step_size` or `milestones`, not both")
        return self

    def list_falls(self) -> Mapping[str, int]:
        """The first of the milestones, or the first step."""
        if self.milestones:
            return {"milestones": min(self.milestones)}
        return {} if self.step_size is None else {"step_size": self.step_size}

    def scale(self, position: int, length: int) -> float:
        """``gamma`` to the power of how often it has fallen."""
        if self.milestones:
            return self.gamma ** sum(position >= m for m in self.milestones)
        return self.gamma ** (position // (self.step_size or max(1, math.ceil(length / 3))))


@schedules.register
class Exponential(ScheduleConfig):
    """Falls by ``gamma`` every epoch."""

    name: Literal["exponential"]
    gamma: Gamma = 0.95

    def scale(self, position: int, length: int) -> float:
        """``gamma`` to the power of the epoch."""
        return self.gamma**position


@schedules.register
class OneCycle(_Counted):
    """Rises to ``lr`` and falls to next to nothing (Smith & Topin 2018), as torch's ``OneCycleLR``.

    Momentum stays as it is.
    """

    name: Literal["one_cycle"]
    interval: Interval = Field("step", description="how often the rate changes")
    pct_start: Share = Field(0.3, description="share of the training in which it rises")
    div_factor: Annotated[float, Bounds(1, 1e12)] = Field(
        25.0, description="it starts at `lr` divided by this"
    )
    final_div_factor: Annotated[float, Bounds(1, 1e12)] = Field(
        1e4, description="it ends at its start divided by this"
    )
    anneal: Literal["cos", "linear"] = "cos"

    def scale(self, position: int, length: int) -> float:
        """Torch's formula: the peak is at ``pct_start·length − 1``, the end at ``length`` − 1."""
        start = 1 / self.div_factor
        peak, last = self.pct_start * length - 1, length - 1
        if position <= peak:
            return self._anneal(start, 1.0, position / peak if peak > 0 else 1.0)
        done = (position - peak) / (last - peak) if last > peak else 1.0
        return self._anneal(1.0, start / self.final_div_factor, min(1.0, done))

    def _anneal(self, start: float, end: float, done: float) -> float:
        if self.anneal == "linear":
            return start + (end - start) * done
        return end + (start - end) / 2 * (1 + math.cos(math.pi * done))


@schedules.register
class Plateau(ScheduleConfig):
    """Falls by ``factor`` when a metric stops improving, as torch's ``ReduceLROnPlateau``."""

    name: Literal["plateau"]
    metric: str = Field("val/loss", description="any metric that is logged every epoch")
    mode: Literal["min", "max"] | None = Field(
        None, description="default: `max` for a metric of which more is better"
    )
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    patience: Epochs = Field(10, description="epochs without improvement that are waited for")
    threshold: Amount = Field(1e-4, description="smallest improvement that counts, as a share")
    cooldown: Epochs = Field(0, description="epochs after a fall that do not count")
    min_factor: Share = Field(0.0, description="where it ends at the latest, as a share of `lr`")

    def list_falls(self) -> Mapping[str, int]:
        """The epochs that are waited for, and one that may be the best."""
        return {"patience": self.patience + 1}

    def scale(self, position: int, length: int) -> float:
        """1; what has fallen since is the training's own."""
        return 1.0
