"""Checks of a spec whose trainable is a user's own training loop, before the first trial."""

from __future__ import annotations

from collections.abc import Iterator

from search_spaces.kinds import Auto, list_alternatives
from search_spaces.unknown_names import did_you_mean, not_one_of
from service.base.errors import Problem, SpecError
from service.spec.model import SweepSpec
from service.spec.space_rules import find_custom_choices
from trainables.build import find_misfits
from trainables.config.regularisers import BY_KEY, Penalty, read_regularisers
from trainables.config.trial_parameters import MODEL_PREFIX
from trainables.data.splits import Splits
from trainables.errors import TrainableError
from trainables.loops.finding import find_loop
from trainables.loops.lightning.fit import ModuleLoop, find_idle_keys
from trainables.loops.opening import read_parts
from trainables.loops.own import OwnRun
from trainables.loops.rehearsal import LoopFindings, rehearse
from trainables.loops.signature import OwnLoop


def find_loop_problems(spec: SweepSpec) -> tuple[OwnLoop | None, list[Problem]]:
    """The spec's training loop, if its trainable is one, and what of the spec it cannot have."""
    try:
        arguments = {
            **{
                name.removeprefix(MODEL_PREFIX): None
                for name in spec.space.parameters
                if name.startswith(MODEL_PREFIX)
            },
            **spec.model,
        }
        loop = find_loop(spec.trainable, arguments)
    except TrainableError as error:
        return None, [Problem(error.where or "trainable", str(error))]
    return loop, [] if loop is None else list(_find_unsupported(spec, loop))


def _find_unsupported(spec: SweepSpec, loop: OwnLoop) -> Iterator[Problem]:
    if spec.resources.workers > 1:
        yield Problem(
            "resources.workers",
            f"{loop.path} is a training loop, which runs in one process; set it to 1",
        )
    if isinstance(loop, ModuleLoop):
        for key, text in find_idle_keys(loop.path, spec.training, spec.space.parameters):
            yield Problem(key, text)
    for name, parameter in spec.space.parameters.items():
        if any(isinstance(plain, Auto) for plain in list_alternatives(parameter)):
            yield Problem(
                f"space.{name}",
                f"`auto` is measured by steps of gapsweep's own loop, not of {loop.path}; write "
                f"`{name}: {_suggest_range(spec)}`, also beside a `preset`",
            )


_THRESHOLDS = "float: [1.0e-6, 1.0e-1], log: true"
_DECAY = "float: [1.0e-2, 1.0e+2], log: true"
"""Decoupled decay shrinks a weight by exp(−2·λ·Σ lr) over a run: a rate of 1e-3 over some hundreds
to thousands of steps needs so large a λ to act."""


def _suggest_range(spec: SweepSpec) -> str:
    """What to write instead of `auto`: decay needs a larger λ than the other penalties."""
    parameter = spec.space.parameters.get(Penalty.selector)
    penalties = [str(v) for v in parameter.choices() if v != "none"] if parameter else []
    decays = [] if spec.training.couples_l2 else ["l2"]
    ranges = [
        f"{{{bounds}, when: {{{Penalty.selector}: [{', '.join(named)}]}}}}"
        for bounds, named in (
            (_THRESHOLDS, [p for p in penalties if p not in decays]),
            (_DECAY, [p for p in penalties if p in decays]),
        )
        if named
    ] or [f"{{{_THRESHOLDS}}}"]
    return ranges[0] if len(ranges) == 1 else f"[{', '.join(ranges)}]"


def check_loop(
    spec: SweepSpec, source: str, loop: OwnLoop, splits: Splits
) -> tuple[OwnRun, LoopFindings]:
    """Rehearse the loop as the baseline's training.

    Raises:
        SpecError: it would fail.
    """
    point = spec.example_point()
    try:
        parts = read_parts(loop, spec, point, splits, baseline=True, device="cpu", few=True)
        run = OwnRun(parts)
        found = rehearse(run, spec.space.parameters)
    except TrainableError as error:
        raise SpecError(source, [Problem(error.where or "trainable", str(error))]) from None
    except MemoryError as error:
        raise SpecError(source, [Problem("trainable", f"out of memory: {error}")]) from None
    problems = [
        Problem(key, not_one_of(metric, found.metrics))
        for metric, key in spec.required_metrics.items()
        if metric not in found.metrics
    ]
    if spec.search.folds is not None and not found.uses_data:
        text = (
            f"{loop.path} does not read trial.data, so that every fold would be the same training; "
            "train on trial.data, or leave this key out"
        )
        problems.append(Problem("search.folds", text))
    problems += _find_unread_arguments(spec, loop, run)
    problems += _check_regularisers(spec, run, splits)
    problems += _check_user_defined(spec, loop, run, splits)
    if problems:
        raise SpecError(source, problems)
    return run, found


def _find_unread_arguments(spec: SweepSpec, loop: OwnLoop, run: OwnRun) -> Iterator[Problem]:
    """Arguments that the loop neither takes nor reads, which are most often misspelt."""
    given = dict.fromkeys(spec.model, "model")
    for name in spec.space.parameters:
        if name.startswith(MODEL_PREFIX):
            given[name.removeprefix(MODEL_PREFIX)] = "space"
    for name, place in given.items():
        if f"{MODEL_PREFIX}{name}" not in run.params.read:
            known = loop.list_arguments()
            where = f"model.{name}" if place == "model" else f"space.{MODEL_PREFIX}{name}"
            yield Problem(
                where,
                f"{loop.path} takes no argument {name!r}{did_you_mean(name, known)}, and does not "
                f"read trial.params[{name!r}]",
            )


def _check_user_defined(
    spec: SweepSpec, loop: OwnLoop, first: OwnRun, splits: Splits
) -> Iterator[Problem]:
    """Check every user-defined component that regularises, by a rehearsal with it alone."""
    if not first.regularises:
        return
    neutral = spec.example_point()
    for name, value, _ in find_custom_choices(spec.space):
        config = BY_KEY.get(name)
        if config is None:
            continue
        point = {**neutral, config.strength: 1.0, name: value}
        try:
            parts = read_parts(loop, spec, point, splits, baseline=False, device="cpu", few=True)
            run = OwnRun(parts)
            rehearse(run, {})
        except TrainableError as error:
            yield Problem(f"space.{name}", str(error))


def _check_regularisers(spec: SweepSpec, run: OwnRun, splits: Splits) -> Iterator[Problem]:
    """Check each built-in regulariser by itself against the network that the loop regularises."""
    if not run.regularises:
        return
    for name, parameter in spec.space.parameters.items():
        config = BY_KEY.get(name)
        if config is None or name == config.on:
            continue
        texts: dict[str, None] = {}
        for value in parameter.samples():
            strength = {config.strength: 1.0} if name == config.selector else {}
            try:
                configs = read_regularisers({**strength, name: value})
                found = find_misfits(configs, splits, run)
                if run.untrained and any(c.build().acts_on_weights for c in configs):
                    found = {name: run.untrained, **found}
            except TrainableError as error:
                found = {name: str(error)}
            texts.update(dict.fromkeys(found.values()))
        yield from (Problem(f"space.{name}", text) for text in texts)
