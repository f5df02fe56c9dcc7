"""The sections of a spec beside its data and its training: what is searched, paid and tested."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from search_spaces.bounds import Bounds, MaxItems, Number, Positive, Seed, SomeTrials
from search_spaces.models import Strict
from search_spaces.values import Value
from service.spec.fold_pruners import FoldPrunerChoice, Forgiving
from service.spec.pruners import ByStrength, PrunerChoice
from service.spec.samplers import SamplerChoice, Tpe

Mode = Literal["min", "max"]
LOOKS = (5, 8, 12, 20)
"""Numbers of replicates at which a confirmation tests its pick against the control."""


class Objective(Strict):
    """The metric by which trials are compared, at their kept weights."""

    metric: str = Field("val/loss", description="any metric that is logged every epoch")
    mode: Mode = Field("min", description="default: `max` for a metric of which more is better")


class Constraint(Strict):
    """Bounds on a metric at the kept weights; a trial outside of them ranks below all others."""

    metric: str
    max: Number | None = None
    min: Number | None = None

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        if self.max is None and self.min is None:
            raise ValueError("a constraint needs `max`, `min` or both")
        return self

    def excesses(self, value: float) -> Iterator[tuple[str, float]]:
        """For each bound, its name and the excess of the value; at most 0 is feasible."""
        if self.max is not None:
            yield f"{self.metric} <= {self.max:g}", value - self.max
        if self.min is not None:
            yield f"{self.metric} >= {self.min:g}", self.min - value


class Search(Strict):
    """How Optuna samples and prunes trials."""

    sampler: SamplerChoice = Tpe()
    grid_points: Annotated[int, Bounds(2, 1_000)] = Field(
        5, description="values per range for the grid sampler"
    )
    pruner: PrunerChoice = ByStrength()
    stop: Literal["auto"] | None = Field(
        None,
        description="`auto` ends the search when further trials would gain less than a "
        "quarter of what the confirmation looks for (`confirm.min_effect`), which gets what is "
        "left; default: off",
    )
    folds: Annotated[int, Bounds(2, 100)] | None = Field(
        None,
        description="K: a trial is trained on each of K folds of the samples that are not the "
        "test's, and its value is the mean over the folds; `pruner` sees the first fold",
    )
    fold_pruner: FoldPrunerChoice = Field(
        Forgiving(), description="with `folds`: which trials lose their last folds"
    )
    seed: Seed = Field(0, description="of the sampler")
    baseline: bool = Field(True, description="the first trial is not regularised at all")
    enqueue: Annotated[tuple[dict[str, Value], ...], MaxItems(1_000)] = Field(
        (), description="points of the space to try first"
    )

    @field_validator("stop", mode="before")
    @classmethod
    def _switch(cls, raw: Any) -> Any:
        """``off`` and ``on``, which YAML may read as false and true."""
        if raw in (False, "off"):
            return None
        return "auto" if raw in (True, "on") else raw

    @model_validator(mode="after")
    def _check_folds(self) -> Self:
        if self.folds is None and self.fold_pruner != Forgiving():
            raise ValueError(
                "`fold_pruner` has no effect without `folds`; set both, or leave it out"
            )
        return self


class Budget(Strict):
    """The limits of a sweep, whichever is reached first. Failed trials count as well."""

    trials: SomeTrials = Field(40, description="trials of the search; `confirm` has its own")
    minutes: Annotated[float, Field(gt=0), Bounds(0, 525_600)] | None = Field(
        None, description="of wall time"
    )
    gpu_hours: Annotated[float, Field(gt=0), Bounds(0, 10_000_000)] | None = Field(
        None, description="hours times GPUs held, summed over all trials"
    )


class Confirm(Strict):
    """Train finalists and controls again: new seeds, new divisions, tested on rows that chose none.

    One training gives the baseline and the early-stopping control of a replicate.
    """

    top_k: int = Field(3, ge=1, le=20, description="finalists: the search's best")
    trainings: int = Field(
        60, ge=1, le=10_000, description="at most this many, in addition to `budget.trials`"
    )
    replicates: int = Field(
        LOOKS[-1],
        ge=LOOKS[0],
        le=LOOKS[-1],
        description=f"at most; the test is made at {', '.join(map(str, LOOKS))}",
    )
    min_effect: Positive | None = Field(
        None,
        description="smallest difference of the objective that matters, in its unit; default: 2 % "
        "of the control's value, or 0.005 where high values are good",
    )
    pick: Literal["best", "simplest"] = Field(
        "best",
        description="the finalist that validates best, or of those as good (by one standard error, "
        "or by `min_effect`) the one with the fewest parts, its own removed one at a time, and "
        "then the most zeros; finalists "
        "are then up to twice as many, each with more zeros than all better ones",
    )
    sensitivity: int = Field(
        0,
        ge=0,
        le=20,
        description="further replicates in which the test rows are drawn anew as well; they "
        "decide nothing",
    )

    @property
    def total_trainings(self) -> int:
        """The largest number of trainings after a search, those of the sensitivity check too."""
        return self.trainings + 2 * self.sensitivity


class Audit(Strict):
    """Train some pruned trials to their end after the search, and report what pruning cost."""

    trials: int = Field(
        8,
        ge=2,
        le=1_000,
        description="at most so many, in addition to `budget.trials`; half of them strongly "
        "regularised",
    )
