"""The pruners that ``search.pruner`` in a spec can name.

Optuna is imported when a pruner is built, not when a spec is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    SerializeAsAny,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from search_spaces.bounds import Amount, Bounds, Epochs, Number, SomeEpochs, SomeTrials, Trials
from trainables.config.imports import ImportPath, load_object
from trainables.config.registry import Component, Custom, Registry

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

WarmUp = Annotated[
    Epochs | None,
    Field(description="epochs before pruning; default: a quarter of all"),
]


def _choose_warm_up(epochs: int | None, max_epochs: int) -> int:
    """A quarter by default: regularised trainings learn more slowly at first."""
    return max_epochs // 4 if epochs is None else epochs


class PrunerConfig(Component):
    """A pruner and its options. A subclass defines :meth:`build`.

    One that ``pauses`` trials works alone: no other pruner can consult it.
    """

    pauses: ClassVar[bool] = False

    def build(self, max_epochs: int) -> BasePruner:
        """A new Optuna pruner, for trials of at most ``max_epochs``; a step is an epoch.

        Raises:
            ContractError: a user-defined class cannot be imported or does not accept an option.
        """
        raise NotImplementedError

    def list_chain(self) -> Iterator[PrunerConfig]:
        """This pruner, and those that it consults, from the outside in."""
        yield self
        inner = getattr(self, "pruner", None)
        if isinstance(inner, PrunerConfig):
            yield from inner.list_chain()


class CustomPruner(PrunerConfig, Custom):
    """A user-defined subclass of `optuna.pruners.BasePruner`."""

    expected = "optuna.pruners:BasePruner"

    name: ImportPath

    def build(self, max_epochs: int) -> BasePruner:
        """``Class(**options)``, with ``max_epochs`` if it accepts it."""
        made: BasePruner = self.create(max_epochs=max_epochs)
        return made


pruners: Registry[PrunerConfig] = Registry("pruner", CustomPruner, group="pruners")


@pruners.register
class Median(PrunerConfig):
    """Prunes a trial whose best value so far is worse than the median at the same epoch."""

    name: Literal["median"] = "median"
    startup_trials: Trials = 5
    warmup_epochs: WarmUp = None
    interval: SomeEpochs = 1

    def build(self, max_epochs: int) -> BasePruner:
        """Optuna's pruner."""
        from optuna.pruners import MedianPruner

        warm_up = _choose_warm_up(self.warmup_epochs, max_epochs)
        return MedianPruner(self.startup_trials, warm_up, self.interval)


@pruners.register
class Percentile(PrunerConfig):
    """Prunes a trial that is not in the best ``percentile`` per cent at the same epoch."""

    name: Literal["percentile"]
    percentile: float = Field(25.0, ge=0, le=100)
    startup_trials: Trials = 5
    warmup_epochs: WarmUp = None
    interval: SomeEpochs = 1

    def build(self, max_epochs: int) -> BasePruner:
        """Optuna's pruner."""
        from optuna.pruners import PercentilePruner

        warm_up = _choose_warm_up(self.warmup_epochs, max_epochs)
        return PercentilePruner(self.percentile, self.startup_trials, warm_up, self.interval)


@pruners.register
class Hyperband(PrunerConfig):
    """Several brackets of successive halving."""

    name: Literal["hyperband"]
    min_epochs: SomeEpochs = 1
    reduction_factor: Annotated[int, Bounds(2, 1_000)] = 3

    def build(self, max_epochs: int) -> BasePruner:
        """Optuna's pruner; without ``max_resource`` it would wait for a first trial."""
        from service.spec.hyperband import PreparedHyperbandPruner

        return PreparedHyperbandPruner(self.min_epochs, max_epochs, self.reduction_factor)


@pruners.register
class SuccessiveHalving(PrunerConfig):
    """Asynchronous successive halving."""

    name: Literal["successive_halving"]
    min_epochs: SomeEpochs = 1
    reduction_factor: Annotated[int, Bounds(2, 1_000)] = 4
    min_early_stopping_rate: Annotated[int, Bounds(0, 20)] = 0

    def build(self, max_epochs: int) -> BasePruner:
        """Optuna's pruner."""
        from optuna.pruners import SuccessiveHalvingPruner

        return SuccessiveHalvingPruner(
            self.min_epochs, self.reduction_factor, self.min_early_stopping_rate
        )


@pruners.register
class PauseAndPromote(PrunerConfig):
    """Asynchronous successive halving that pauses trials, and lets them go on when they rank."""

    pauses: ClassVar[bool] = True

    name: Literal["pause_and_promote"]
    min_epochs: SomeEpochs = 1
    reduction_factor: Annotated[int, Bounds(2, 1_000)] = 4
    k: SomeTrials = Field(3, description="at least so many are trained to their end")

    def build(self, max_epochs: int) -> BasePruner:
        """Our pruner, after Li et al. 2020; the study session acts on it."""
        made: Any = load_object("service.study.promotion:PromotingPruner")
        pruner: BasePruner = made(self.min_epochs, self.reduction_factor, self.k, max_epochs)
        return pruner


@pruners.register
class TopK(PrunerConfig):
    """Trains every trial for a constant number of epochs; only the best ``k`` of them go on."""

    name: Literal["top_k"]
    epochs: SomeEpochs = Field(1, description="that every trial has")
    k: SomeTrials = Field(3, description="how many go on; one that is overtaken is pruned")

    def build(self, max_epochs: int) -> BasePruner:
        """Our pruner, after Egele et al. 2024."""
        from service.spec.top_k import TopKPruner

        return TopKPruner(self.epochs, self.k)


@pruners.register
class Forecast(PrunerConfig):
    """Prunes a trial that no improvement as large as those of other trials would make the best."""

    name: Literal["forecast"]
    startup_trials: Trials = 4
    warmup_epochs: Epochs = 1
    margin: Amount = Field(
        0.1,
        description="by which a forecast may miss the best value, as a share of the distance from "
        "the best to the median complete trial",
    )

    def build(self, max_epochs: int) -> BasePruner:
        """Our pruner."""
        from service.spec.forecast import ForecastPruner

        return ForecastPruner(self.startup_trials, self.warmup_epochs, self.margin)


@pruners.register
class Threshold(PrunerConfig):
    """Prunes a trial whose value is out of range."""

    name: Literal["threshold"]
    lower: Number | None = None
    upper: Number | None = None
    warmup_epochs: Epochs = 0
    interval: SomeEpochs = 1

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        if self.lower is None and self.upper is None:
            raise ValueError("a threshold needs `lower`, `upper` or both")
        return self

    def build(self, max_epochs: int) -> BasePruner:
        """Optuna's pruner."""
        from optuna.pruners import ThresholdPruner

        return ThresholdPruner(self.lower, self.upper, self.warmup_epochs, self.interval)


@pruners.register
class Wilcoxon(PrunerConfig):
    """Prunes a trial that is worse than the best one by a signed-rank test over its epochs."""

    name: Literal["wilcoxon"]
    p_threshold: float = Field(0.1, ge=0, le=1)
    startup_epochs: Epochs = 2

    def build(self, max_epochs: int) -> BasePruner:
        """Optuna's pruner."""
        from optuna.pruners import WilcoxonPruner

        return WilcoxonPruner(p_threshold=self.p_threshold, n_startup_steps=self.startup_epochs)


@pruners.register
class NoPruner(PrunerConfig):
    """Prunes no trials."""

    name: Literal["none"]

    def build(self, max_epochs: int) -> BasePruner:
        """Optuna's pruner."""
        from optuna.pruners import NopPruner

        return NopPruner()


_ANY_PRUNER: dict[str, Any] = {
    "anyOf": [
        {"type": "string"},
        {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
    ]
}
"""The schema of a pruner within a pruner: its options are those of the outer ones."""


def _parse(raw: Any) -> PrunerConfig:
    """Parse the inner pruner of another pruner."""
    found = pruners.parse(raw)
    if found.pauses:
        raise ValueError(f"`{found.name}` pauses trials: it cannot be within another pruner")
    return found


InnerPruner = Annotated[
    SerializeAsAny[PrunerConfig], BeforeValidator(_parse), WithJsonSchema(_ANY_PRUNER)
]


@pruners.register
class Patient(PrunerConfig):
    """Consults another pruner only after ``patience`` epochs without an improvement."""

    name: Literal["patient"]
    patience: Epochs = 3
    min_delta: Amount = 0.0
    pruner: InnerPruner = Median()

    def build(self, max_epochs: int) -> BasePruner:
        """Optuna's pruner, wrapped around another."""
        from optuna.pruners import PatientPruner

        return PatientPruner(self.pruner.build(max_epochs), self.patience, self.min_delta)


@pruners.register
class ByStrength(PrunerConfig):
    """Consults another pruner, which sees only trials that are about as strongly regularised."""

    name: Literal["by_strength"] = "by_strength"
    strata: Annotated[int, Bounds(1, 20)] = Field(
        2, description="groups of regularised trials; those that nothing regularises are another"
    )
    pruner: InnerPruner = Median()

    @field_validator("pruner")
    @classmethod
    def _check_pruner(cls, pruner: PrunerConfig) -> PrunerConfig:
        if any(isinstance(p, Hyperband) for p in pruner.list_chain()):
            raise ValueError(
                "`hyperband` makes groups of its own; use `successive_halving` within `by_strength`"
            )
        return pruner

    def build(self, max_epochs: int) -> BasePruner:
        """Our pruner, wrapped around another."""
        made: Any = load_object("service.study.by_strength:ByStrengthPruner")
        pruner: BasePruner = made(self.pruner.build(max_epochs), self.strata)
        return pruner


if TYPE_CHECKING:
    PrunerChoice = PrunerConfig
else:
    PrunerChoice = pruners.choice()
