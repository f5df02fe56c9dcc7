"""Checks of a spec that need its data and network, before the first trial."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from search_spaces.words import not_one_of
from service.base.errors import Problem, SpecError
from service.spec.model import SweepSpec
from trainables.analysis.examine import Examination, examine
from trainables.build import Regularisers, build_run, find_misfits
from trainables.config.imports import find_import_paths
from trainables.config.regularisers import BY_KEY, read_regularisers
from trainables.config.trial_parameters import MODEL_PREFIX
from trainables.data.datasets import load
from trainables.data.splits import Splits
from trainables.errors import TrainableError
from trainables.loading import load_trainable
from trainables.loop import TrainingRun


@dataclass(frozen=True)
class Preflight:
    """The splits, the baseline's training before its first step, and its examination."""

    splits: Splits
    run: TrainingRun
    examination: Examination


def run_preflight(spec: SweepSpec, source: str) -> Preflight:
    """Load the data, build the network, run one batch and check every name in the spec.

    Raises:
        SpecError: the sweep would fail; lists all problems that were found.
    """
    problems = [*_check_arguments(spec), *_check_components(spec)]
    try:
        splits = load(spec.data)
    except TrainableError as error:
        raise SpecError(source, [*problems, Problem("data", str(error))]) from None
    if problems:
        raise SpecError(source, problems)
    try:
        run = build_run(spec, spec.neutral_point(), splits, baseline=True, device="cpu")
        found = examine(run, splits, spec.resources.workers)
    except TrainableError as error:
        raise SpecError(source, [Problem(error.where or "trainable", str(error))]) from None
    problems += _check_metrics(spec, found.metrics)
    problems += _check_regularisers(spec, run, splits)
    if problems:
        raise SpecError(source, problems)
    return Preflight(splits, run, found)


def _check_arguments(spec: SweepSpec) -> Iterator[Problem]:
    """Check that the trainable loads with the arguments that the spec and the space name."""
    point = {n: None for n in spec.space.parameters if n.startswith(MODEL_PREFIX)}
    swept = {n.removeprefix(MODEL_PREFIX): v for n, v in point.items()}
    try:
        load_trainable(spec.trainable, spec.model)
    except TrainableError as error:
        yield Problem("trainable", str(error))
        return
    for name in swept:
        try:
            load_trainable(spec.trainable, {**spec.model, name: _get_first_value(spec, name)})
        except TrainableError as error:
            yield Problem(f"space.{MODEL_PREFIX}{name}", str(error))


def _get_first_value(spec: SweepSpec, name: str) -> object:
    return spec.space.parameters[f"{MODEL_PREFIX}{name}"].extremes()[0]


def _check_metrics(spec: SweepSpec, metrics: tuple[str, ...]) -> Iterator[Problem]:
    named = [("objective.metric", spec.objective.metric)]
    named += [(f"constraints.{i}.metric", c.metric) for i, c in enumerate(spec.constraints)]
    if spec.early_stopping is not None:
        named.append(("early_stopping.metric", spec.early_stopping.metric))
    for path, metric in named:
        if metric not in metrics:
            yield Problem(path, not_one_of(metric, metrics))


def _check_components(spec: SweepSpec) -> Iterator[Problem]:
    """Check that samplers, pruners and stopping rules with user-defined code can be built."""
    search, stopping = spec.search, spec.early_stopping
    for place, component, make in (
        ("search.sampler", search.sampler, lambda: search.sampler.build(search.seed)),
        ("search.pruner", search.pruner, lambda: search.pruner.build(spec.training.max_epochs)),
        ("early_stopping", stopping, lambda: stopping and stopping.build()),
    ):
        if any(find_import_paths(component)):
            try:
                make()
            except TrainableError as error:
                yield Problem(place, str(error))


def _check_regularisers(spec: SweepSpec, run: TrainingRun, splits: Splits) -> Iterator[Problem]:
    """Check every regulariser at its largest strength against the network and the data."""
    for place, configs in _list_strongest(spec):
        try:
            found = find_misfits(configs, splits, run.model)
        except TrainableError as error:
            yield Problem(place, str(error))
        else:
            yield from (Problem(place, text) for text in found.values())


def _list_strongest(spec: SweepSpec) -> Iterator[tuple[str, Regularisers]]:
    """Regularisers at their largest strength, one for each choice, with their key in the spec."""
    for name, parameter in spec.space.parameters.items():
        config = BY_KEY.get(name)
        if config and name == config.selector:
            for value in parameter.choices():
                yield f"space.{name}", read_regularisers({name: value, config.strength: 1.0})
        elif config:
            yield f"space.{name}", read_regularisers({name: parameter.extremes()[1]})
    yield from ((f"regularisers.{label}", (c,)) for label, c in spec.regularisers.items())
