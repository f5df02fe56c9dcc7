"""How many trials of a sweep share their steps in a process, and why no more."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from search_spaces.kinds import Choice, Int, Plain
from search_spaces.random_points import draw_point
from search_spaces.space import SearchSpace
from search_spaces.unknown_names import join_names
from search_spaces.values import Value
from service.base.errors import Problem, SpecError
from service.base.number_format import duration
from service.cluster.divisions import collect_garbage
from service.cluster.slot import FEWEST
from service.run.cost_estimate import CostEstimate, estimate_cost
from service.run.preflight import Preflight, run_preflight
from service.run.process_state import preserve_process_state, use_threads_of_a_trial
from service.run.user_code import use_folders
from service.spec.model import SweepSpec
from service.spec.pruners import NoPruner
from service.spec.samplers import Grid, Qmc, Random
from service.study.slot_flow import ALONE, Widths
from trainables.build import build_run
from trainables.config.imports import EXTERNAL
from trainables.data.placing import Placed, place
from trainables.data.splits import Splits
from trainables.devices import get_free_memory, limit_memory
from trainables.errors import TrainableError
from trainables.lanes.examination import examine_fusion
from trainables.lanes.shape_key import ShapeKey, find_key
from trainables.lanes.widths import LONG, SECONDS, explain_long, find_width, measure_gain
from trainables.loop import TrainingRun
from trainables.machine import find_free_memory

_MOST = 64
"""Trials of a process, unless the spec says how many."""
_MADE, _EPOCHS, _STEPS = 3.0, 24, 400
"""What finding that out takes: seconds to make programs, measurements of epochs, and steps."""
_AT_ONCE = 0.25
"""Of the trials of a search that learns, those that run at once, at most."""


_RUN = 0.5
"""Of the epochs that trainings may have, those that run where some are pruned or stop early."""
_SHARE = 0.02
"""Of the time of a sweep, what it may take to find out how many trials should share steps."""


@dataclass(frozen=True)
class LanePlan:
    """How many trials a process trains at once, and what is to be said of it.

    ``gain`` is how many times as fast they are as trials alone, where that was measured.
    """

    widths: Widths = ALONE
    words: str = "off"
    gain: float | None = None

    @property
    def shares(self) -> bool:
        """Whether any trials share their steps."""
        return self.widths.most > 1


OFF = LanePlan()
"""Each trial trains alone, as nothing else was asked for."""


@dataclass(frozen=True)
class _Alone:
    """Why each trial has to train alone, and what the spec may say instead of a number."""

    reason: str
    instead: str = "off"


def plan_lanes(
    spec: SweepSpec, source: str, found: Preflight, slots: int, *, measures: bool = False
) -> LanePlan:
    """How many trials each of so many processes trains at once.

    With ``measures``, what a number that the spec says gains is measured too.

    Raises:
        SpecError: the spec wants several, and they cannot share their steps.
    """
    fuse = spec.resources.fuse
    if fuse == "off":
        return OFF
    with preserve_process_state(), use_threads_of_a_trial(spec):
        try:
            plan = _plan(spec, found, slots, measures=measures)
        finally:
            collect_garbage(spec.resources.device)  # trials need that memory
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
        found = run_preflight(spec, source)
        return plan_lanes(spec, source, found, slots, measures=True)


def _plan(spec: SweepSpec, found: Preflight, slots: int, *, measures: bool) -> LanePlan | _Alone:
    resources = spec.resources
    fuse, start = resources.fuse, time.monotonic()
    cost = estimate_cost(spec, found.examination) if found.examination else None
    reason = _explain(spec, found) or (_explain_cost(spec, cost, slots) if fuse == "auto" else "")
    if reason:
        return _Alone(reason)
    maker = _Maker(spec if found.ranges is None else spec.with_space(found.ranges.space), found)
    is_as_trials = resources.device == maker.device
    if fuse == "auto" and not is_as_trials:
        return _Alone(
            "there is no GPU here to measure on; a number instead of auto measures nothing"
        )
    fusion = examine_fusion(maker.make(0))
    if fusion.reason:
        return _Alone(f"trials cannot share their steps: {fusion.reason}")
    shapes = maker.count_shapes()
    wanted = Widths(fuse, fuse) if isinstance(fuse, int) else _count_most(spec, slots)
    if shapes > 1 and wanted.most < shapes * FEWEST:
        return _Alone(*_explain_few(wanted.most, shapes, maker.splitting))
    if isinstance(fuse, int):
        measures = measures and is_as_trials
        gain = measure_gain(maker.make, int(fuse / shapes)) if measures else None
        words = _describe(wanted, shapes, maker.splitting, gain)
        where = "" if is_as_trials else "; examined on a CPU, as there is no GPU here"
        return LanePlan(wanted, words + where, gain)
    left = min(SECONDS, _limit_seconds(spec, cost) - (time.monotonic() - start))
    return _measure(spec, maker, wanted, slots, left)


def _measure(
    spec: SweepSpec, maker: _Maker, wanted: Widths, slots: int, seconds: float
) -> LanePlan | _Alone:
    """The widths that pay, of those that are wanted, by measurement."""
    shapes = maker.count_shapes()
    most = Widths(int(wanted.search / shapes), int(wanted.after / shapes))
    of_search, of_after = _count_epochs(spec, slots)
    both = find_width(maker.make, most=most.most, free=_count_memory(spec, slots), seconds=seconds)
    search, after = both.limit(most.search, of_search), both.limit(most.after, of_after)
    best = max(search, after, key=lambda advice: advice.width)
    if best.width == 1:
        return _Alone(search.reason if most.search >= FEWEST else after.reason)
    widths = Widths(int(search.width * shapes), int(after.width * shapes))
    gain = search.gain if search.width > 1 else best.gain
    return LanePlan(widths, _describe(widths, shapes, maker.splitting, gain), gain)


def _explain(spec: SweepSpec, found: Preflight) -> str:
    """Why no trials of a spec can share their steps, as far as the spec says; empty if they may."""
    resources = spec.resources
    if resources.workers > 1:
        return f"trials with {resources.workers} workers share no steps"
    if spec.search.folds is not None:
        return "trials on `search.folds` share no steps"
    if found.loop is not None:
        return f"{spec.trainable} is a training loop of its own, whose steps are not shared"
    return ""


def _explain_cost(spec: SweepSpec, cost: CostEstimate | None, slots: int) -> str:
    """Why it is not worth while to find out what sharing gains; empty if it may be.

    Trainings of the examination and of the measurements cost as many epochs and steps of a trial.
    """
    if _count_most(spec, slots).most < FEWEST:
        most = _count_most(spec, slots).most
        return f"only {most} trials would run at once in a process, too few to gain by it"
    if cost is None:
        return "it is not known how long an epoch takes"
    if cost.step > LONG and not spec.resources.gpus:  # it was measured on a CPU
        return explain_long(cost.step)
    needed = _MADE + _EPOCHS * (cost.epoch - cost.step) + _STEPS * cost.step
    if needed > _limit_seconds(spec, cost):
        takes = duration(round(cost.seconds))
        return (
            f"all trials take at most about {takes} of CPU time, of which about {needed:.0f} s "
            "would be needed to measure whether sharing pays; a number instead of auto measures "
            "nothing"
        )
    return ""


def _limit_seconds(spec: SweepSpec, cost: CostEstimate | None) -> float:
    """What may be taken of the time that trials are expected to have."""
    if cost is None:
        return 0.0
    ends_early = not isinstance(spec.search.pruner, NoPruner) or spec.early_stopping is not None
    return _SHARE * cost.seconds * (_RUN if ends_early else 1.0)


def _count_most(spec: SweepSpec, slots: int) -> Widths:
    """The most trials that a process should have at once.

    A sampler that learns from results sees fewer of them the more trials run at once. What follows
    a search learns nothing.
    """
    trials = spec.budget.trials
    learns = not isinstance(spec.search.sampler, Random | Grid | Qmc)
    at_once = _AT_ONCE * trials if learns else trials
    after = spec.confirm.total_trainings if spec.confirm else 0
    most = [max(1, min(_MOST, math.ceil(count / slots))) for count in (at_once, after)]
    return Widths(*most)


def _count_epochs(spec: SweepSpec, slots: int) -> tuple[int, int]:
    """The epochs of a process, of the search and after it."""
    after = spec.confirm.total_trainings if spec.confirm else 0
    return (
        spec.budget.trials * spec.most_epochs // slots,
        after * spec.most_epochs // slots,
    )


def _count_memory(spec: SweepSpec, slots: int) -> int:
    """The bytes of each process that trains here at the same time, of what is free."""
    if spec.resources.gpus:
        limit_memory(spec.resources.worker_gpus)
        return get_free_memory()
    fitting = max(1, int((os.cpu_count() or 1) / spec.resources.worker_cpus))
    return find_free_memory() // min(slots, fitting)


def _describe(
    widths: Widths, shapes: float, splitting: Mapping[str, float], gain: float | None
) -> str:
    """What a process trains, in words."""
    width = widths.search if widths.search > 1 else widths.after
    what = "trials" if widths.search > 1 else "trainings after the search"
    words = f"yes, up to {width} {what} of a process, each bit for bit as it is alone"
    if gain is not None:
        words += f", {gain:.2f} × as fast as alone"
    if widths.search > 1 and widths.after > widths.search:
        words += f"; up to {widths.after} after the search"
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
        device: that of a trial, or the CPU where there is none here.
        splitting: parameters that divide trials into groups, with the number of their values.
    """

    def __init__(self, spec: SweepSpec, found: Preflight) -> None:
        self._spec, self._splits = spec, found.splits
        self.device = spec.resources.device if torch.cuda.is_available() else "cpu"
        self._placed = place(found.splits, self.device)
        self._point = spec.example_point()
        self.splitting = dict(self._find_splitting())

    def make(self, number: int) -> TrainingRun:
        """The training of a point, whose parameters that divide trials are always the same."""
        fixed = {n: self._point[n] for n in self.splitting if n in self._point}
        point = draw_point(self._spec.space, number, fixed)
        return build(self._spec, point, self._splits, self._placed, self.device)

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
            return find_key(build(self._spec, point, self._splits, self._placed, self.device))
        except (TrainableError, ValueError):  # a value that needs that of another parameter
            return None


def build(
    spec: SweepSpec, point: Mapping[str, Value], splits: Splits, placed: Placed, device: str = "cpu"
) -> TrainingRun:
    """The training of a trial of the search."""
    return build_run(spec, point, splits, baseline=False, device=device, placed=placed)


def _count_values(space: SearchSpace, name: str) -> float:
    return sum(_count_plain(dimension.plain) for dimension in space.list_dimensions(name))


def _count_plain(plain: Plain) -> float:
    match plain:
        case Choice():
            return len(plain.choices())
        case Int():
            return len(range(plain.low, plain.high + 1, plain.step))
    return math.inf
