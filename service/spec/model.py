"""The spec of a sweep: parsed once, frozen, with every error reported at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, model_validator

from search_spaces.bounds import MaxItems
from search_spaces.kinds import Auto
from search_spaces.models import Strict, raise_problems
from search_spaces.parsing import AUTO, AUTOMATIC
from search_spaces.points import check_point
from search_spaces.space import SearchSpace
from search_spaces.values import Value, freeze
from service.spec.directions import fill_directions
from service.spec.resources import Resources
from service.spec.sections import LOOKS, Audit, Budget, Confirm, Constraint, Objective, Search
from service.spec.space_rules import find_custom_choices, find_space_problems
from trainables.config.code_policy import OUR_NETWORKS
from trainables.config.data import DataChoice
from trainables.config.imports import EXTERNAL, TrainablePath, find_import_paths
from trainables.config.models import find_size_problems
from trainables.config.registry import Component
from trainables.config.regularisers import NEUTRAL, OFF, OwnRegulariser, regularisers
from trainables.config.schedules import Plateau
from trainables.config.stopping import Patience, StoppingConfig, stopping_rules
from trainables.config.training import KEYS as TRAINING_KEYS
from trainables.config.training import Training
from trainables.config.trial_parameters import MODEL_PREFIX, tunes_training

if TYPE_CHECKING:
    RegulariserChoice = OwnRegulariser
    StoppingChoice = StoppingConfig
else:
    RegulariserChoice = regularisers.choice()
    StoppingChoice = stopping_rules.choice()

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$")]
Label = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]*$")]


class SweepSpec(Strict):
    """A whole sweep. Immutable; equal specs with `concurrent: 1` give equal trials."""

    name: Name = Field(description="lower case; the sweep's id begins with it")
    trainable: TrainablePath = Field(
        EXTERNAL,
        description="the network: built in (`trainables.models:MLP`) or your own; `external` for "
        "loops that ask for their trials (`gapsweep.ask_tell`)",
    )
    data: DataChoice | None = Field(
        None,
        description="a built-in source, or your own function; a training loop of yours may "
        "load samples itself",
    )
    model: dict[str, Any] = Field(default_factory=dict, description="arguments of the trainable")
    training: Training = Training()
    space: SearchSpace = Field(description="or `{preset: NAME}`, or `{file: PATH}`")
    regularisers: Annotated[dict[Label, RegulariserChoice], MaxItems(50)] = Field(
        default_factory=dict, description="your own ones by label; a space varies `LABEL.OPTION`"
    )
    early_stopping: StoppingChoice | None = Field(
        Patience(), description="`off` trains every trial to its last epoch"
    )
    objective: Objective = Objective()
    constraints: Annotated[tuple[Constraint, ...], MaxItems(100)] = ()
    search: Search = Search()
    budget: Budget = Budget()
    audit: Audit | None = Field(
        None, description="of the pruner, before `confirm`: `on`, or its keys; default: off"
    )
    confirm: Confirm | None = Field(
        Confirm(), description="`off` ends the sweep with the search; its answer is unconfirmed"
    )
    resources: Resources = Resources()

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, raw: Any) -> Any:
        """Convert ``off``, which YAML may read as False, to None, and fill in directions.

        Without test rows or without a baseline there is nothing to confirm, unless the spec says
        otherwise, which is an error.
        """
        if not isinstance(raw, Mapping):
            return raw
        switched = ("early_stopping", "audit", "confirm")
        off: dict[str, Any] = {k: None for k in switched if raw.get(k) in (False, "off")}
        if raw.get("audit") in (True, "on"):
            off["audit"] = {}
        if "confirm" not in raw and (not _has_test_rows(raw) or not _has_baseline(raw)):
            off["confirm"] = None
        return fill_directions({**raw, **off})

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        problems = [
            *find_space_problems(self),
            *((("model", n), text) for n, text in find_size_problems(self.trainable, self.model)),
            *self._find_material_problems(),
            *self._find_fold_problems(),
            *self._find_budget_problems(),
            *self._find_metric_problems(),
            *((("resources", key), text) for key, text in self.resources.problems()),
            *self._find_batch_problems(),
            *self._find_schedule_problems(),
            *(
                (("search", "enqueue", position, name), text)
                for position, point in enumerate(self.search.enqueue)
                for name, text in check_point(self.space, point)
            ),
        ]
        raise_problems("SweepSpec", problems, self)
        return self

    def _find_material_problems(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        if self.data is None and self.trainable in OUR_NETWORKS:
            yield ("data",), "is missing"
        if self.data is None and self.confirm and self.confirm.sensitivity:
            yield ("confirm", "sensitivity"), "needs `data`, of which it draws other test rows"
        automatic = any(isinstance(d.plain, Auto) for d in self.space.dimensions)
        if automatic and self.trainable == EXTERNAL:
            yield (
                ("space", AUTOMATIC),
                f"`{AUTO}` is computed by short trainings: name `trainable` and `data`, or give a "
                "range",
            )

    def _find_fold_problems(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        folds = self.search.folds
        if folds is None:
            return
        if self.trainable == EXTERNAL:
            yield (
                ("search", "folds"),
                "needs trials that are trained here: a loop that asks for its trials can train on "
                "folds itself, and report the mean over them; leave it out",
            )
        elif self.data is None:
            yield ("search", "folds"), f"needs `data`, whose samples are divided into {folds} folds"

    def _find_budget_problems(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        if self.budget.gpu_hours is not None and not self.resources.gpus:
            yield (
                ("budget", "gpu_hours"),
                "has no effect without GPUs; set resources.gpus, or remove this key",
            )
        first = self.search.baseline + len(self.search.enqueue) + self.controls
        if self.confirm and self.controls and self.budget.trials <= first:
            yield (
                ("budget", "trials"),
                f"{self.budget.trials} leave none for the search: {first} come first, of which "
                f"{self.controls} tune the other parameters of the space without regularisers; "
                f"set {first + 1} or more",
            )
        confirm = self.confirm
        if confirm is None:
            return
        controls = 2 if self.controls else 1
        finalists = confirm.top_k * (2 if confirm.pick == "simplest" else 1)
        arms = finalists + controls
        if confirm.trainings < LOOKS[0] * arms:
            payable = confirm.trainings // arms
            fewer = (confirm.trainings // LOOKS[0] - controls) * confirm.top_k // finalists
            less = f", or top_k to {fewer} or fewer" if fewer > 0 else ""
            yield (
                ("confirm", "trainings"),
                f"{confirm.trainings} pay {payable} replicates of {arms} trainings ({controls} for "
                f"controls, {finalists} finalists); the first test needs {LOOKS[0]}: set "
                f"trainings to {LOOKS[0] * arms} or more{less}",
            )
        if not self.search.baseline:
            yield (
                ("confirm",),
                "needs `search.baseline: true`, because effects are differences from it",
            )
        if getattr(self.data, "test", None) == 0:
            yield (
                ("confirm",),
                "needs test rows; remove `data.test: 0`, or set confirm to off for an unconfirmed "
                "answer",
            )

    def _find_metric_problems(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        watched = [("objective.metric", self.objective.metric)]
        if self.early_stopping is not None:
            watched.append(("early_stopping.metric", self.early_stopping.metric))
        if isinstance(self.training.schedule, Plateau):
            watched.append(("training.schedule.metric", self.training.schedule.metric))
        for name, metric in watched:
            if self.training.measure_every > 1 and metric.startswith(("train/", "gap/")):
                yield (
                    ("training", "measure_every"),
                    f"must be 1, got {self.training.measure_every}: {name} is {metric!r}, which is "
                    "needed every epoch",
                )

    def _find_schedule_problems(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Warm-ups and schedules that are longer than the training."""
        training, varied, most = self.training, self.space.parameters, self.training.max_epochs
        if "max_epochs" in varied:
            return
        if training.warmup_epochs >= most and "warmup_epochs" not in varied:
            yield (
                ("training", "warmup_epochs"),
                f"{training.warmup_epochs} leaves no epoch for the schedule: max_epochs is {most}",
            )
        for key, epochs in training.schedule.list_falls().items():
            if epochs >= most:
                yield (
                    ("training", "schedule", key),
                    f"the rate would fall after {epochs} epochs, and max_epochs is {most}",
                )

    def _find_batch_problems(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        size, workers = self.training.batch_size, self.resources.workers
        if self.training.scale_lr == "none" and size < workers:
            yield (
                ("resources", "workers"),
                f"a batch of {size} cannot be divided among {workers}; set training.batch_size to "
                f"{workers} or more, or workers to {size} or fewer",
            )

    @property
    def required_metrics(self) -> dict[str, str]:
        """The metrics that every epoch must have, each with the key that names it."""
        named = [(c.metric, f"constraints.{i}.metric") for i, c in enumerate(self.constraints)]
        if self.early_stopping is not None:
            named.append((self.early_stopping.metric, "early_stopping.metric"))
        return dict([*named, (self.objective.metric, "objective.metric")])

    @property
    def most_epochs(self) -> int:
        """The largest number of epochs of a training, which a space may vary."""
        varied = self.space.parameters.get("max_epochs")
        values = () if varied is None else varied.samples()
        return max([self.training.max_epochs, *(v for v in values if isinstance(v, int))])

    @property
    def controls(self) -> int:
        """How many trials of the search tune other parameters without regularisers.

        A quarter, at least five, where the space has such parameters; otherwise 0. A sweep without
        confirmation keeps at least one trial for the search.
        """
        if not any(map(self.tunes, self.space.parameters)):
            return 0
        wanted = max(5, self.budget.trials // 4)
        left = self.budget.trials - self.search.baseline - len(self.search.enqueue) - 1
        return wanted if self.confirm else max(0, min(wanted, left))

    def import_paths(self) -> tuple[str, ...]:
        """Every ``module:Name`` that running this spec would import, each once."""
        chosen = (component.name for _, _, component in find_custom_choices(self.space))
        found = (*find_import_paths(self), *map(str, chosen))
        return tuple(dict.fromkeys(found))

    def modules(self) -> frozenset[str]:
        """Top-level names of the modules that running this spec would import."""
        return frozenset(p.partition(":")[0].partition(".")[0] for p in self.import_paths())

    def with_space(self, space: SearchSpace) -> Self:
        """The spec with another space: the one that its study samples."""
        return self.model_copy(update={"space": space})

    def tunes(self, name: str) -> bool:
        """Whether a parameter changes a training that nothing regularises."""
        return tunes_training(name) and name not in self.neutral

    @property
    def neutral(self) -> dict[str, Value]:
        """The arguments of the trainable that regularise, with their values without it."""
        found = self.space.parameters.items()
        return {name: p.neutral for name, p in found if p.regularises}

    def neutral_point(self) -> dict[str, Value]:
        """The baseline's parameters: no regularisation, the spec's values for everything else."""
        fixed: dict[str, Value] = dict(NEUTRAL)
        for name in self.space.parameters:
            if name in OFF:
                fixed[name] = OFF[name]
                continue
            if name in TRAINING_KEYS:
                value = getattr(self.training, name)
                value = value.name if isinstance(value, Component) else value
            elif name.startswith(MODEL_PREFIX):
                argument = name.removeprefix(MODEL_PREFIX)
                if argument in self.model:
                    fixed[name] = freeze(self.model[argument])
                continue
            else:
                label, _, option = name.partition(".")
                value = getattr(self.regularisers.get(label), option, None) if option else None
            if isinstance(value, bool | int | float | str):
                fixed[name] = value
        return {**fixed, **self.neutral}

    def example_point(self) -> dict[str, Value]:
        """The baseline's parameters, those that it samples at their first value."""
        space, point = self.space, self.neutral_point()
        for name in space.order_names():
            if name.startswith(MODEL_PREFIX) and name not in point:
                active = space.find_dimension(name, point)
                point[name] = (active.plain if active else space.parameters[name]).extremes()[0]
        return point


def _has_test_rows(raw: Mapping[str, Any]) -> bool:
    data = raw.get("data")
    return not isinstance(data, Mapping) or data.get("test") != 0


def _has_baseline(raw: Mapping[str, Any]) -> bool:
    search = raw.get("search")
    return not isinstance(search, Mapping) or search.get("baseline") is not False
