"""The spec's pruners: what each is told, and the one of Optuna's that it stands for."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    PatientPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
    ThresholdPruner,
    WilcoxonPruner,
)
from pydantic import BeforeValidator, Field, model_validator

from search_spaces.models import Strict

WarmUp = Annotated[
    int | None, Field(ge=0, description="epochs before the first look; else a quarter of all")
]


def _warm_up(epochs: int | None, max_epochs: int) -> int:
    """A regularised training learns more slowly at first, and would be given up for it."""
    return max_epochs // 4 if epochs is None else epochs


class Median(Strict):
    """Prunes a trial whose best value so far is worse than the median at the same epoch."""

    name: Literal["median"] = "median"
    startup_trials: int = Field(5, ge=0)
    warmup_epochs: WarmUp = None
    interval: int = Field(1, ge=1)

    def build(self, max_epochs: int) -> BasePruner:
        """Optuna's own."""
        warm_up = _warm_up(self.warmup_epochs, max_epochs)
        return MedianPruner(self.startup_trials, warm_up, self.interval)


class Percentile(Strict):
    """Prunes a trial that is not among the best ``percentile`` at the same epoch."""

    name: Literal["percentile"]
    percentile: float = Field(25.0, ge=0, le=100)
    startup_trials: int = Field(5, ge=0)
    warmup_epochs: WarmUp = None
    interval: int = Field(1, ge=1)

    def build(self, max_epochs: int) -> BasePruner:
        """Optuna's own."""
        warm_up = _warm_up(self.warmup_epochs, max_epochs)
        return PercentilePruner(self.percentile, self.startup_trials, warm_up, self.interval)


class Hyperband(Strict):
    """Several brackets of successive halving."""

    name: Literal["hyperband"]
    min_epochs: int = Field(1, ge=1)
    reduction_factor: int = Field(3, ge=2)

    def build(self, max_epochs: int) -> BasePruner:
        """Optuna's own, told the largest resource: it would wait for a trial to learn it."""
        return HyperbandPruner(self.min_epochs, max_epochs, self.reduction_factor)


class SuccessiveHalving(Strict):
    """Asynchronous successive halving."""

    name: Literal["successive_halving"]
    min_epochs: int = Field(1, ge=1)
    reduction_factor: int = Field(4, ge=2)
    min_early_stopping_rate: int = Field(0, ge=0)

    def build(self, max_epochs: int) -> BasePruner:
        """Optuna's own."""
        return SuccessiveHalvingPruner(
            self.min_epochs, self.reduction_factor, self.min_early_stopping_rate
        )


class Threshold(Strict):
    """Prunes a trial whose value leaves a range."""

    name: Literal["threshold"]
    lower: float | None = None
    upper: float | None = None
    warmup_epochs: int = Field(0, ge=0)
    interval: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.lower is None and self.upper is None:
            raise ValueError("a threshold needs `lower`, `upper` or both")
        return self

    def build(self, max_epochs: int) -> BasePruner:
        """Optuna's own."""
        return ThresholdPruner(self.lower, self.upper, self.warmup_epochs, self.interval)


class Wilcoxon(Strict):
    """Prunes a trial that a signed-rank test over its epochs finds worse than the best one."""

    name: Literal["wilcoxon"]
    p_threshold: float = Field(0.1, ge=0, le=1)
    startup_epochs: int = Field(2, ge=0)

    def build(self, max_epochs: int) -> BasePruner:
        """Optuna's own."""
        return WilcoxonPruner(p_threshold=self.p_threshold, n_startup_steps=self.startup_epochs)


class NoPruner(Strict):
    """Prunes nothing."""

    name: Literal["none"]

    def build(self, max_epochs: int) -> BasePruner:
        """Optuna's own."""
        return NopPruner()


def by_name(value: Any) -> Any:
    """``median`` stands for ``{name: median}``."""
    return {"name": value} if isinstance(value, str) else value


class Patient(Strict):
    """Asks another pruner only after ``patience`` epochs without an improvement."""

    name: Literal["patient"]
    patience: int = Field(3, ge=0)
    min_delta: float = Field(0.0, ge=0)
    pruner: Annotated[Pruner, BeforeValidator(by_name)] = Median()

    def build(self, max_epochs: int) -> BasePruner:
        """Optuna's own, around another."""
        return PatientPruner(self.pruner.build(max_epochs), self.patience, self.min_delta)


Pruner = Annotated[
    Median | Percentile | Hyperband | SuccessiveHalving | Patient | Threshold | Wilcoxon | NoPruner,
    Field(discriminator="name"),
]
