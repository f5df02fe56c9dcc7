"""How many trials of a sweep share their steps in a process, and why no more."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from search_spaces.kinds import Choice, Int, Plain
from search_spaces.random_points import draw_point
from search_spaces.space import SearchSpace
from search_spaces.values import Value
from search_spaces.words import join_names
from service.base.errors import Problem, SpecError
from service.cluster.slot import FEWEST
from service.run.preflight import Preflight, run_preflight
from service.run.process_state import preserve_process_state
from service.run.user_code import use_folders
from service.spec.model import SweepSpec
from service.spec.samplers import Grid, Qmc, Random
from trainables.build import build_run
from trainables.config.imports import EXTERNAL
from trainables.data.placing import Placed, place
from trainables.data.splits import Splits
from trainables.errors import TrainableError
from trainables.lanes.examination import examine_fusion
from trainables.lanes.shape_key import ShapeKey, find_key
from trainables.lanes.widths import find_width
from trainables.loop import TrainingRun

_MOST = 64
"""Trials of a process, unless the spec says how many."""
_AT_ONCE = 0.25
"""Of the trials of a search that learns, those that run at once, at most."""


@dataclass(frozen=True)
class LanePlan:
    """How many trials a process trains at once, and what is to be said of it."""

    width: int = 1
    words: str = "off"


OFF = LanePlan()
"""Each trial trains alone, as nothing else was asked for."""


@dataclass(frozen=True)
class _Alone:
    """Why each trial has to train alone, and what the spec may say instead of a number."""

    reason: str
    instead: str = "off"


def plan_lanes(spec: SweepSpec, source: str, found: Preflight, slots: int) -> LanePlan:
    """How many trials each of so many processes trains at once.

    Raises:
        SpecError: the spec wants several, and they cannot share their steps.
    """
    fuse = spec.resources.fuse
    if fuse == "off":
        return OFF
    with preserve_process_state():
        torch.set_num_threads(max(1, int(spec.resources.worker_cpus)))
        plan = _plan(spec, found, slots)
    if isinstance(plan, LanePlan):
        return plan
    if fuse == "auto":
        return LanePlan(words=f"no: {plan.reason}")
    text = f"{fuse}, but {plan.reason}; set it to {plan.instead}"
    raise SpecError(source, [Problem("resources.fuse", text)])


def plan_lanes_of(spec: SweepSpec, source: str, folders: Sequence[Path], slots: int) -> LanePlan:
    """The same of a spec that was not examined yet, with modules in these folders.

    Raises:
        SpecError: the sweep would fail.
    """
    if spec.resources.fuse == "off" or spec.trainable == EXTERNAL:
        return OFF
    with use_folders(*folders):
        return plan_lanes(spec, source, run_preflight(spec, source), slots)


def _plan(spec: SweepSpec, found: Preflight, slots: int) -> LanePlan | _Alone:
    reason = _explain(spec, found)
    if reason:
        return _Alone(reason)
    maker = _Maker(spec if found.ranges is None else spec.with_space(found.ranges.space), found)
    fusion = examine_fusion(maker.make(0))
    if fusion.reason:
        return _Alone(f"trials cannot share their steps: {fusion.reason}")
    fuse, shapes = spec.resources.fuse, maker.count_shapes()
    most = fuse if isinstance(fuse, int) else _count_most(spec, slots)
    if shapes > 1 and most < shapes * FEWEST:
        return _Alone(*_explain_few(most, shapes, maker.splitting))
    if isinstance(fuse, int):
        return LanePlan(fuse, _describe(fuse, shapes, maker.splitting, ""))
    if most < FEWEST:
        return _Alone(f"only {most} trials would run at once in a process, too few to gain by it")
    epochs = spec.budget.trials * spec.most_epochs // slots
    advice = find_width(maker.make, most=int(most / shapes), epochs=epochs)
    if advice.width == 1:
        return _Alone(advice.reason)
    width, gain = int(advice.width * shapes), f", {advice.gain:.2f} × as fast as alone"
    return LanePlan(width, _describe(width, shapes, maker.splitting, gain))


def _explain(spec: SweepSpec, found: Preflight) -> str:
    """Why no trials of a spec can share their steps, as far as the spec says; empty if they may."""
    resources = spec.resources
    if resources.gpus:
        return "trials on GPUs share no steps"
    if resources.workers > 1:
        return f"trials with {resources.workers} workers share no steps"
    if spec.search.folds is not None:
        return "trials on `search.folds` share no steps"
    if found.loop is not None:
        return f"{spec.trainable} is a training loop of its own, whose steps are not shared"
    return ""


def _count_most(spec: SweepSpec, slots: int) -> int:
    """The most trials that a process should have at once.

    A sampler that learns from results sees fewer of them the more trials run at once.
    """
    trials = spec.budget.trials
    learns = not isinstance(spec.search.sampler, Random | Grid | Qmc)
    at_once = _AT_ONCE * trials if learns else trials
    return max(1, min(_MOST, math.ceil(at_once / slots)))


def _describe(width: int, shapes: float, splitting: Mapping[str, float], gain: str) -> str:
    """What a process trains, in words."""
    words = f"yes, up to {width} trials of a process, each bit for bit as it is alone{gain}"
    if shapes == 1:
        return words
    each = f"about {width // int(shapes)} each"
    return f"{words}; in {shapes:.0f} groups, as {_name(splitting)} differs: {each}"


def _explain_few(width: int, shapes: float, splitting: Mapping[str, float]) -> tuple[str, str]:
    """Why so many trials at once are too few, and what is valid."""
    groups = f"{shapes:.0f} groups" if math.isfinite(shapes) else "a group for each"
    reason = (
        f"only trials with the same {_name(splitting)} share steps, which makes {groups} of "
        f"{width} trials, and a group needs {FEWEST} or more"
    )
    enough = shapes * FEWEST
    return reason, "off" if enough > _MOST else f"{enough:.0f} or more, or to off"


def _name(splitting: Mapping[str, float]) -> str:
    return join_names([f"`{name}`" for name in splitting], " and ")


class _Maker:
    """Makes trainings at random points of the space that can share their steps.

    Attributes:
        splitting: parameters that divide trials into groups, with the number of their values.
    """

    def __init__(self, spec: SweepSpec, found: Preflight) -> None:
        self._spec, self._splits = spec, found.splits
        self._placed = place(found.splits, "cpu")
        self._point = spec.example_point()
        self.splitting = dict(self._find_splitting())

    def make(self, number: int) -> TrainingRun:
        """The training of a point, whose parameters that divide trials are always the same."""
        fixed = {n: self._point[n] for n in self.splitting if n in self._point}
        point = draw_point(self._spec.space, number, fixed)
        return build(self._spec, point, self._splits, self._placed)

    def count_shapes(self) -> float:
        """Into how many groups trials are divided."""
        return math.prod(self.splitting.values())

    def _find_splitting(self) -> Iterator[tuple[str, float]]:
        space = self._spec.space
        usual = self._find_key({})
        for name, parameter in space.parameters.items():
            keys = [self._find_key({name: value}) for value in parameter.samples()]
            if any(key is not None and key != usual for key in keys):
                yield name, _count_values(space, name)

    def _find_key(self, changed: Mapping[str, Value]) -> ShapeKey | None:
        try:
            point = {**self._point, **changed}
            return find_key(build(self._spec, point, self._splits, self._placed))
        except (TrainableError, ValueError):  # a value that needs that of another parameter
            return None


def build(
    spec: SweepSpec, point: Mapping[str, Value], splits: Splits, placed: Placed
) -> TrainingRun:
    """The training of a trial of the search."""
    return build_run(spec, point, splits, baseline=False, device="cpu", placed=placed)


def _count_values(space: SearchSpace, name: str) -> float:
    return sum(_count_plain(dimension.plain) for dimension in space.list_dimensions(name))


def _count_plain(plain: Plain) -> float:
    match plain:
        case Choice():
            return len(plain.choices())
        case Int():
            return len(range(plain.low, plain.high + 1, plain.step))
    return math.inf
