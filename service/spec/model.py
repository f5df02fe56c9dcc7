"""The spec of a sweep: parsed once, frozen, with every error reported at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from search_spaces.models import Strict, make_problem, raise_problems
from search_spaces.points import check_point
from search_spaces.space import SearchSpace, Value
from service.spec.pruners import Median, PrunerChoice
from service.spec.resources import Resources
from service.spec.samplers import SamplerChoice, Tpe
from service.spec.space_rules import find_custom_choices, find_space_problems
from trainables.config.data import DataChoice
from trainables.config.imports import ImportPath, find_import_paths
from trainables.config.registry import Component
from trainables.config.regularisers import NEUTRAL, OwnRegulariser, regularisers
from trainables.config.stopping import Patience, StoppingConfig, stopping_rules
from trainables.config.training import KEYS as TRAINING_KEYS
from trainables.config.training import Training
from trainables.config.trial_parameters import MODEL_PREFIX

if TYPE_CHECKING:
    RegulariserChoice = OwnRegulariser
    StoppingChoice = StoppingConfig
else:
    RegulariserChoice = regularisers.choice()
    StoppingChoice = stopping_rules.choice()

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$")]
Label = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]*$")]
Mode = Literal["min", "max"]


class Objective(Strict):
    """The metric by which trials are compared, at their kept weights."""

    metric: str = Field("val/loss", description="any metric that is logged every epoch")
    mode: Mode = "min"


class Constraint(Strict):
    """Bounds on a metric at the kept weights; a trial outside of them ranks below all others."""

    metric: str
    max: float | None = None
    min: float | None = None

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
    grid_points: int = Field(5, ge=2, description="values per range for the grid sampler")
    pruner: PrunerChoice = Median()
    seed: int = Field(0, ge=0, description="of the sampler")
    baseline: bool = Field(True, description="the first trial is not regularised at all")
    enqueue: tuple[dict[str, Value], ...] = Field(
        (), description="points of the space to try first"
    )


class Budget(Strict):
    """The limits of a sweep, whichever is reached first. Failed trials count as well."""

    trials: int = Field(40, ge=1, description="trials of the search and of `confirm` together")
    minutes: float | None = Field(None, gt=0, description="of wall time")
    gpu_hours: float | None = Field(
        None, gt=0, description="hours times GPUs held, summed over all trials"
    )


class Confirm(Strict):
    """Train the best trials and the baseline again with new seeds, before the conclusion."""

    top_k: int = Field(3, ge=1, description="how many of the search's best are trained again")
    seeds: int = Field(5, ge=2, description="new seeds for each of them and for the baseline")
    pick: Literal["best_mean", "one_standard_error"] = Field(
        "best_mean",
        description="the best mean, or the smallest gap within one standard error of it",
    )

    @property
    def trials(self) -> int:
        """The number of trials that the confirmation needs."""
        return self.seeds * (self.top_k + 1)


class SweepSpec(Strict):
    """A whole sweep. Immutable; equal specs with `concurrent: 1` give equal trials."""

    name: Name = Field(description="lower case; the sweep's id begins with it")
    trainable: ImportPath = Field(
        description="the network: built in (`trainables.models:MLP`) or your own"
    )
    data: DataChoice = Field(description="a built-in source, or your own function")
    model: dict[str, Any] = Field(default_factory=dict, description="arguments of the trainable")
    training: Training = Training()
    space: SearchSpace = Field(description="or `{preset: NAME}`, or `{file: PATH}`")
    regularisers: dict[Label, RegulariserChoice] = Field(
        default_factory=dict, description="your own ones by label; a space varies `LABEL.OPTION`"
    )
    early_stopping: StoppingChoice | None = Field(
        Patience(), description="`off` trains every trial to its last epoch"
    )
    objective: Objective = Objective()
    constraints: tuple[Constraint, ...] = ()
    search: Search = Search()
    budget: Budget = Budget()
    confirm: Confirm | None = None
    resources: Resources = Resources()

    @model_validator(mode="before")
    @classmethod
    def _convert_off(cls, raw: Any) -> Any:
        """Convert ``off``, which YAML may read as False, to None."""
        if isinstance(raw, Mapping) and raw.get("early_stopping") in (False, "off"):
            return {**raw, "early_stopping": None}
        return raw

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        problems = [
            *find_space_problems(self),
            *self._find_budget_problems(),
            *self._find_metric_problems(),
            *((("resources", key), text) for key, text in self.resources.problems()),
            *self._find_batch_problems(),
            *(
                (("search", "enqueue", position, name), text)
                for position, point in enumerate(self.search.enqueue)
                for name, text in check_point(self.space, point)
            ),
        ]
        raise_problems(
            "SweepSpec", (make_problem(location, text, self) for location, text in problems)
        )
        return self

    def _find_budget_problems(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        if self.budget.gpu_hours is not None and not self.resources.gpus:
            yield (
                ("budget", "gpu_hours"),
                "has no effect without GPUs; set resources.gpus, or remove this key",
            )
        if self.confirm is None:
            return
        left = self.budget.trials - self.confirm.trials
        if left < self.confirm.top_k + 1:
            yield (
                ("budget", "trials"),
                f"{self.budget.trials} trials leave {max(left, 0)} for the search: `confirm` needs "
                f"{self.confirm.trials} ({self.confirm.seeds} seeds each for the baseline and "
                f"{self.confirm.top_k} finalists)",
            )
        if not self.search.baseline:
            yield (
                ("confirm",),
                "needs `search.baseline: true`, because it compares with the baseline",
            )

    def _find_metric_problems(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        watched = [("objective.metric", self.objective.metric)]
        if self.early_stopping is not None:
            watched.append(("early_stopping.metric", self.early_stopping.metric))
        for name, metric in watched:
            if self.training.measure_every > 1 and metric.startswith(("train/", "gap/")):
                yield (
                    ("training", "measure_every"),
                    f"must be 1, got {self.training.measure_every}: {name} is {metric!r}, which is "
                    "needed every epoch",
                )

    def _find_batch_problems(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        size, workers = self.training.batch_size, self.resources.workers
        if self.training.scale_lr == "none" and size < workers:
            yield (
                ("resources", "workers"),
                f"a batch of {size} cannot be divided among {workers}; set training.batch_size to "
                f"{workers} or more, or workers to {size} or fewer",
            )

    def import_paths(self) -> tuple[str, ...]:
        """Every ``module:Name`` that running this spec would import, each once."""
        chosen = (component.name for _, _, component in find_custom_choices(self.space))
        found = (*find_import_paths(self), *map(str, chosen))
        return tuple(dict.fromkeys(found))

    def modules(self) -> frozenset[str]:
        """Top-level names of the modules that running this spec would import."""
        return frozenset(p.partition(":")[0].partition(".")[0] for p in self.import_paths())

    def neutral_point(self) -> dict[str, Value]:
        """The baseline's parameters: no regularisation, the spec's values for everything else."""
        fixed: dict[str, Value] = dict(NEUTRAL)
        for name in self.space.parameters:
            if name in TRAINING_KEYS:
                value = getattr(self.training, name)
                value = value.name if isinstance(value, Component) else value
            elif name.startswith(MODEL_PREFIX):
                value = self.model.get(name.removeprefix(MODEL_PREFIX))
            else:
                label, _, option = name.partition(".")
                value = getattr(self.regularisers.get(label), option, None) if option else None
            if name not in NEUTRAL and isinstance(value, bool | int | float | str):
                fixed[name] = value
        return fixed
