"""Checks what sets the learning rate: the keys of a spec against the optimiser of its trainable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch.optim.lr_scheduler import ReduceLROnPlateau

from search_spaces.unknown_names import not_one_of
from search_spaces.values import Value
from service.base.errors import Problem
from service.spec.model import SweepSpec
from trainables.analysis.examine import Examination
from trainables.build import build_run
from trainables.config.schedules import Plateau
from trainables.config.training import Training
from trainables.data.splits import Splits
from trainables.errors import TrainableError
from trainables.loop import TrainingRun
from trainables.optimizers import is_own, list_changes, name_optimizer

_OF_SCHEDULE = ("schedule", "warmup_epochs", "warmup_steps")
_OF_OPTIMIZER = ("optimizer", "lr", "momentum")
_BUILT = ("optimizer", "sampling", *_OF_SCHEDULE)
"""Keys whose values may not fit the data or the trainable."""


def find_rate_problems(
    spec: SweepSpec, run: TrainingRun, found: Examination, splits: Splits
) -> Iterator[Problem]:
    """Keys that nothing reads, that contradict each other, or that do not fit."""
    yield from _find_unread(spec, run, found)
    yield from _find_endless(spec, found)
    if is_own(run.trainable):
        yield from _find_ignored(spec, run)
    yield from _find_monitors(run, found.metrics)
    yield from _find_unbuildable(spec, splits)


def _find_unread(spec: SweepSpec, run: TrainingRun, found: Examination) -> Iterator[Problem]:
    """Keys of the schedule where the user's code sets the rates."""
    if found.follows:
        return
    owner = name_optimizer(run.trainable, run.training)
    default = Training()
    for key in _OF_SCHEDULE:
        text = (
            f"has no effect: the learning rate is {found.rates}; remove it, or the code of {owner} "
            "that sets the rate"
        )
        if key in spec.space.parameters:
            yield Problem(f"space.{key}", text)
        elif getattr(spec.training, key) != getattr(default, key):
            yield Problem(f"training.{key}", text)


def _find_endless(spec: SweepSpec, found: Examination) -> Iterator[Problem]:
    """A warm-up that the training does not end."""
    key, training = "warmup_steps", spec.training
    if found.steps is None or spec.space.parameters.keys() & {key, "max_epochs", "batch_size"}:
        return
    steps = found.steps * training.max_epochs
    if training.warmup_steps >= steps:
        text = f"{training.warmup_steps} leaves no step for the schedule: a training has {steps}"
        yield Problem(f"training.{key}", text)


def _find_ignored(spec: SweepSpec, run: TrainingRun) -> Iterator[Problem]:
    """Keys of the optimiser that the trainable's own does not depend on."""
    owner = name_optimizer(run.trainable, run.training)
    for key in _OF_OPTIMIZER:
        parameter = spec.space.parameters.get(key)
        values = parameter.samples() if parameter else ()
        if len(values) > 1 and not any(_change(run, key, value) for value in values):
            yield Problem(f"space.{key}", f"has no effect: {owner} does not read training.{key}")
    scaled = spec.training.scale_lr != "none" and spec.resources.workers > 1
    twice = {"lr": 2 * run.training.lr}
    if scaled and not all(list_changes(run.trainable, run.model, run.training, twice)):
        yield Problem(
            "training.scale_lr",
            f"scales training.lr, but {owner} has groups with rates of their own, which stay; "
            "compute them from training.lr, or set scale_lr to none",
        )


def _change(run: TrainingRun, key: str, value: Value) -> bool:
    changed = Training.model_validate({**run.training.model_dump(), key: value})
    if getattr(changed, key) == getattr(run.training, key):
        return False
    return any(list_changes(run.trainable, run.model, run.training, {key: getattr(changed, key)}))


def _find_monitors(run: TrainingRun, metrics: Sequence[str]) -> Iterator[Problem]:
    """Metrics that are not measured, not in every epoch, or taken the wrong way round."""
    for place, name, monitor, mode in _list_monitors(run):
        side, _, metric = monitor.rpartition("/")
        if monitor not in metrics:
            yield Problem(place, f"{name}{not_one_of(monitor, metrics)}")
        elif run.training.measure_every > 1 and side in ("train", "gap"):
            text = f"{name}{monitor} is needed every epoch, and training.measure_every is not 1"
            yield Problem(place, text)
        elif side in ("train", "val") and mode is not None:
            better = "max" if run.trainable.is_better_high(metric) else "min"
            if mode != better:
                more = "higher" if better == "max" else "lower"
                text = f"{name}mode is {mode}, but {more} values of {monitor} are better"
                yield Problem(place, text)


def _list_monitors(run: TrainingRun) -> Iterator[tuple[str, str, str, str | None]]:
    """For each scheduler on a metric: its key, its name for a message, the metric, its mode."""
    schedule = run.training.schedule
    if run.rates.follows and isinstance(schedule, Plateau):
        yield "training.schedule", "", schedule.metric, schedule.mode
    for own in run.rates.own:
        if own.monitor is not None:
            scheduler: Any = own.scheduler
            mode = scheduler.mode if isinstance(scheduler, ReduceLROnPlateau) else None
            yield "trainable", f"{type(scheduler).__name__}: ", own.monitor, mode


def _find_unbuildable(spec: SweepSpec, splits: Splits) -> Iterator[Problem]:
    """Values of the space with which no training can be built."""
    for key in _BUILT:
        parameter = spec.space.parameters.get(key)
        for value in parameter.samples() if parameter else ():
            if ":" in str(value):  # a user's own is tried by a step
                continue
            point = {**spec.example_point(), key: value}
            try:
                build_run(spec, point, splits, baseline=True, device="cpu")
            except TrainableError as error:
                yield Problem(f"space.{key}", f"{value}: {error}")
