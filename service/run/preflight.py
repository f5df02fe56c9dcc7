"""Checks of a spec that need its data and network, before the first trial."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import cloudpickle

from search_spaces.consistency import locate_alternatives
from search_spaces.kinds import Int, Parameter, list_alternatives
from search_spaces.models import list_changed
from search_spaces.unknown_names import not_one_of
from search_spaces.values import Value
from service.base.errors import Problem, SpecError
from service.run.preflight_loop import check_loop, find_loop_problems
from service.run.process_state import use_threads_of_a_trial
from service.run.ranges import Ranges, compute_ranges
from service.run.rate_checks import find_rate_problems
from service.run.user_code import find_code_problems
from service.spec.external import refuse_external
from service.spec.model import SweepSpec
from service.spec.space_rules import find_custom_choices
from trainables.analysis.batch_usage import find_unread
from trainables.analysis.examine import Examination, examine
from trainables.analysis.last_batch import LastBatch, find_smallest
from trainables.build import build_run, find_misfits
from trainables.config.imports import find_import_paths
from trainables.config.regularisers import BY_KEY, RegulariserConfig, read_regularisers
from trainables.config.training import scale_for_workers, settle_batches
from trainables.config.trial_parameters import MODEL_PREFIX, read_point
from trainables.contract import Trainable
from trainables.data.datasets import open_rows
from trainables.data.description import describe_data
from trainables.data.lazy import LazySplit, StreamSplit
from trainables.data.lazy_rows import LazyRows
from trainables.data.no_rows import NoRows
from trainables.data.notes import Note
from trainables.data.rows import Rows
from trainables.data.splits import Split, Splits, find_batch_size
from trainables.errors import TrainableError, blame
from trainables.loading import load_trainable
from trainables.loop import TrainingRun, try_step
from trainables.loops.lightning.fit import ModuleLoop
from trainables.loops.rehearsal import LoopFindings
from trainables.run import Run


@dataclass(frozen=True)
class Preflight:
    """The samples, the search's splits, the baseline's training before its first step.

    ``not_neutral`` says what regularises the baseline all the same, ``reading`` how the data were
    read, ``ranges`` what the space's ranges of λ mean, if they were measured. A training loop of
    the user's has findings, ``loop``, and no examination.
    """

    rows: Rows
    splits: Splits
    run: Run
    examination: Examination | None
    not_neutral: tuple[str, ...]
    reading: tuple[Note, ...]
    ranges: Ranges | None
    loop: LoopFindings | None = None


def run_preflight(spec: SweepSpec, source: str, *, measure_ranges: bool = True) -> Preflight:
    """Load the data, build the network, run one batch and check every name in the spec.

    With ``measure_ranges`` some steps are trained with each penalty, to compute automatic ranges.

    Raises:
        SpecError: the sweep would fail; lists all problems that were found.
    """
    with use_threads_of_a_trial(spec):
        return _examine(spec, source, measure_ranges=measure_ranges)


def _examine(spec: SweepSpec, source: str, *, measure_ranges: bool) -> Preflight:
    refuse_external(spec, source)
    refused = [Problem(where, text) for where, text in find_code_problems(spec)]
    if refused:
        raise SpecError(source, refused)
    loop, unsupported = find_loop_problems(spec)
    problems = [*unsupported, *check_components(spec)]
    if loop is None and not unsupported:
        problems += _check_arguments(spec)
    try:
        if spec.data is None and loop is None:
            raise SpecError(source, [*problems, Problem("data", "is missing")])
        rows = NoRows() if spec.data is None else open_rows(spec.data)
        of_folds = _check_folds(spec, source, rows)
        splits = rows.divide_for_search(spec.search.folds)
        replicated, sizes = check_replicates(spec, rows)
        problems += replicated if loop is None else []
        problems += _check_sending(spec, rows)
        if loop is None or isinstance(loop, ModuleLoop):
            problems += _check_loader(spec, splits)
    except TrainableError as error:
        raise SpecError(source, [*problems, Problem("data", str(error))]) from None
    if problems:
        raise SpecError(source, problems)
    folds = spec.search.folds
    reading = () if spec.data is None else describe_data(spec.data, rows, splits, folds)
    if loop is not None:
        own, findings = check_loop(spec, source, loop, splits)
        if findings.measured and replicated:
            raise SpecError(source, replicated)
        hidden = (*findings.hidden, *_list_sampled(spec))
        return Preflight(rows, splits, own, None, hidden, reading, None, findings)
    try:
        run = build_run(spec, spec.example_point(), splits, baseline=True, device="cpu")
        smallest = _find_smallest(spec, splits, {*sizes, *of_folds})
        found = examine(run, splits, spec.resources.workers, smallest)
    except TrainableError as error:
        raise SpecError(source, [Problem(error.where or "trainable", str(error))]) from None
    except MemoryError as error:
        raise SpecError(source, [Problem("trainable", f"out of memory: {error}")]) from None
    problems += _check_metrics(spec, found.metrics)
    problems += _check_directions(spec, run.trainable)
    problems += find_rate_problems(spec, run, found, splits)
    problems += _check_regularisers(spec, run, splits)
    problems += _check_user_defined(spec, splits)
    if problems:
        raise SpecError(source, problems)
    not_neutral = (*found.hidden, *_list_sampled(spec))
    ranges = _measure_ranges(spec, source, splits, found.steps) if measure_ranges else None
    return Preflight(rows, splits, run, found, not_neutral, reading, ranges)


def _measure_ranges(spec: SweepSpec, source: str, splits: Splits, steps: int | None) -> Ranges:
    try:
        return compute_ranges(spec, splits, steps)
    except TrainableError as error:
        raise SpecError(source, [Problem(error.where or "space.lambda", str(error))]) from None
    except SpecError as error:
        raise SpecError(source, error.problems) from None


def _list_sampled(spec: SweepSpec) -> Iterator[str]:
    """The arguments of the trainable for which the spec gives the baseline no value."""
    if not spec.search.baseline:
        return
    fixed = spec.neutral_point()
    for name in spec.space.parameters:
        if name.startswith(MODEL_PREFIX) and name not in fixed:
            argument = name.removeprefix(MODEL_PREFIX)
            yield (
                f"{name} is sampled in the baseline too: give it a value there by "
                f"`model: {{{argument}: …}}`, or, if it regularises, by `neutral` in the space"
            )


def check_replicates(spec: SweepSpec, rows: Rows) -> tuple[list[Problem], Collection[int]]:
    """Check that every replicate of the confirmation can be divided and tested.

    Returns the sizes of their training parts too.
    """
    problems: list[Problem] = []
    if spec.confirm is None:
        return problems, ()
    if not rows.tested:
        text = "needs test rows, and the data have none; set confirm to off"
        problems.append(Problem("confirm", text))
    try:
        return problems, rows.check_replicates(spec.confirm.replicates)
    except TrainableError as error:
        return [*problems, Problem("data", f"{error}; or set confirm to off")], ()


def _check_folds(spec: SweepSpec, source: str, rows: Rows) -> Collection[int]:
    """The sizes of the training parts of the search's folds, if it has any.

    Raises:
        SpecError: the samples cannot be divided into them.
    """
    if spec.search.folds is None:
        return ()
    try:
        return rows.check_folds(spec.search.folds)
    except TrainableError as error:
        raise SpecError(source, [Problem("search.folds", str(error))]) from None


def _find_smallest(spec: SweepSpec, splits: Splits, sizes: Collection[int]) -> LastBatch | None:
    """The smallest batch of any trial; None where the data say how they are divided into batches.

    ``sizes`` are numbers of training samples of replicates.
    """
    train, training = splits.train, spec.training
    if isinstance(train, StreamSplit) or training.steps_per_epoch is not None:
        return None
    if isinstance(train, LazySplit) and train.loading.sampler:
        return None
    batch_sizes = _list_batch_sizes(spec, train)
    return find_smallest({len(train), *sizes}, batch_sizes, drop_last=training.drop_last)


def _list_batch_sizes(spec: SweepSpec, train: Split | LazySplit) -> Collection[int]:
    """The batch sizes that trials may have, of all workers together."""
    training, samples = settle_batches(spec.training, find_batch_size(train)), len(train)
    parameter = spec.space.parameters.get("batch_size")
    sizes: list[Value] = [] if parameter else [training.batch_size]
    for varied in list_alternatives(parameter) if parameter else ():
        match varied:
            case Int():
                highest = max(varied.low, min(varied.high, samples))
                sizes += range(varied.low, highest + 1, varied.step)
            case _:
                sizes += varied.choices()
    workers = spec.resources.workers
    factor = scale_for_workers(training, workers).batch_size // training.batch_size
    return {factor * size for size in sizes if isinstance(size, int)}


def _check_sending(spec: SweepSpec, rows: Rows) -> Iterator[Problem]:
    """Check that data which are read lazily can be sent to the processes that train."""
    if spec.resources.executor != "ray" or not isinstance(rows, LazyRows):
        return
    try:
        cloudpickle.dump(rows, _Nowhere())
    except Exception as error:  # of the user's objects
        yield Problem(
            "data",
            f"{rows.function.path}: what it returned cannot be sent to the processes that train: "
            f"{error}; open files and connections when a sample is read, not in __init__, or set "
            "resources.executor to local",
        )


def _check_loader(spec: SweepSpec, splits: Splits) -> Iterator[Problem]:
    """Check that no size of batches is asked for beside a loader that makes its own."""
    train = splits.train
    if not (isinstance(train, LazySplit | StreamSplit) and train.owns_batches):
        return
    size = find_batch_size(train)
    text = "the DataLoader of train makes its batches itself; leave this key out"
    if "batch_size" in spec.space.parameters:
        yield Problem("space.batch_size", text)
    if "batch_size" in list_changed(spec.training) and spec.training.batch_size != size:
        yield Problem("training.batch_size", text)


class _Nowhere(io.RawIOBase):
    def write(self, data: Any) -> int:
        return memoryview(data).nbytes


def _check_arguments(spec: SweepSpec) -> Iterator[Problem]:
    """Check that the trainable loads with the arguments that the spec and the space name."""
    example = {n: v for n, v in spec.example_point().items() if n.startswith(MODEL_PREFIX)}
    points: dict[str, dict[str, Value]] = {"trainable": example}
    for name, parameter in spec.space.parameters.items():
        for location, plain in locate_alternatives(name, parameter):
            if name.startswith(MODEL_PREFIX):
                where = ".".join(map(str, ("space", *location)))
                points[where] = {**example, name: plain.extremes()[1]}
    for place, point in points.items():
        try:
            load_trainable(spec.trainable, read_point(spec, point).model)
        except TrainableError as error:
            yield Problem(place, str(error))
            if place == "trainable":
                return


def _check_metrics(spec: SweepSpec, metrics: tuple[str, ...]) -> Iterator[Problem]:
    named = [("objective.metric", spec.objective.metric)]
    named += [(f"constraints.{i}.metric", c.metric) for i, c in enumerate(spec.constraints)]
    if spec.early_stopping is not None:
        named.append(("early_stopping.metric", spec.early_stopping.metric))
    for path, metric in named:
        if metric not in metrics:
            yield Problem(path, not_one_of(metric, metrics))


def _check_directions(spec: SweepSpec, trainable: Trainable) -> Iterator[Problem]:
    """Check that no metric is taken the wrong way round: the worst would be called the best."""
    watching = {"objective": spec.objective, "early_stopping": spec.early_stopping}
    for place, watched in watching.items():
        side, _, name = watched.metric.rpartition("/") if watched else ("", "", "")
        if watched is None or side not in ("train", "val"):
            continue
        better = "max" if trainable.is_better_high(name) else "min"
        if watched.mode != better:
            more = "higher" if better == "max" else "lower"
            yield Problem(
                f"{place}.mode",
                f"{watched.mode}, but {more} values of {watched.metric} are better; set `mode: "
                f"{better}`, or `higher_is_better` of the metric if that is wrong",
            )


def check_components(spec: SweepSpec) -> Iterator[Problem]:
    """Check that samplers, pruners and stopping rules with user-defined code can be built."""
    search, stopping = spec.search, spec.early_stopping
    for place, component, make in (
        ("search.sampler", search.sampler, lambda: search.sampler.build(search.seed)),
        ("search.pruner", search.pruner, lambda: search.pruner.build(spec.training.max_epochs)),
        ("search.fold_pruner", search.fold_pruner, lambda: search.fold_pruner.build(2)),
        ("early_stopping", stopping, lambda: stopping and stopping.build()),
    ):
        if any(find_import_paths(component)):
            try:
                make()
            except TrainableError as error:
                yield Problem(place, str(error))


def _check_regularisers(spec: SweepSpec, run: TrainingRun, splits: Splits) -> Iterator[Problem]:
    """Check each built-in regulariser by itself against the network and the data."""
    for name, parameter in spec.space.parameters.items():
        config = BY_KEY.get(name)
        if config is None or name == config.on:
            continue
        texts: dict[str, None] = {}
        for point in _list_alone(spec, config, name, parameter):
            try:
                configs = read_regularisers(point)
                found = find_misfits(configs, splits, run, run.rates) or find_unread(configs, run)
            except TrainableError as error:
                found = {name: str(error)}
            texts.update(dict.fromkeys(found.values()))
        yield from (Problem(f"space.{name}", text) for text in texts)


def _list_alone(
    spec: SweepSpec, config: type[RegulariserConfig], name: str, parameter: Parameter
) -> Iterator[dict[str, Value]]:
    """Points at which nothing but this regulariser acts, by each of the parameter's values."""
    strength: dict[str, Value] = {config.strength: 1.0} if name == config.selector else {}
    on = spec.space.parameters.get(config.on)
    for value in parameter.samples():
        if ":" not in str(value):  # a user's own is tried by a step
            for part in on.samples() if on else [None]:
                yield {**strength, name: value} | ({config.on: part} if on else {})


def _check_user_defined(spec: SweepSpec, splits: Splits) -> Iterator[Problem]:
    """Check every user-defined component that trains, by one step of a training with it alone."""
    for place, changed, point in _list_user_defined(spec):
        try:
            with blame("training"):
                try_step(build_run(changed, point, splits, baseline=False, device="cpu"))
        except TrainableError as error:
            yield Problem(place or error.where, str(error))


def _list_user_defined(spec: SweepSpec) -> Iterator[tuple[str, SweepSpec, dict[str, Value]]]:
    """Each component's key, the spec with it alone, and the parameters to try.

    The key is empty for components of ``training``, whose errors name it.
    """
    space = spec.space.parameters
    off = spec.model_copy(update={"regularisers": {}})
    prefixes = tuple(f"{label}." for label in spec.regularisers)
    neutral = {k: v for k, v in spec.example_point().items() if not k.startswith(prefixes)}
    if any(find_import_paths(spec.training)):
        yield "", off, neutral
    for name, value, _ in find_custom_choices(spec.space):
        config = BY_KEY.get(name)
        strength: dict[str, Value] = {config.strength: 1.0} if config else {}
        on = space.get(config.on) if config else None
        parts = {config.on: on.samples()[0]} if config and on else {}
        yield f"space.{name}", off, {**neutral, **strength, **parts, name: value}
    for label, own in spec.regularisers.items():
        options = {n: p.extremes()[1] for n, p in space.items() if n.startswith(f"{label}.")}
        alone = spec.model_copy(update={"regularisers": {label: own}})
        yield f"regularisers.{label}", alone, {**neutral, **options}
