"""How many trainings should share their steps, from what groups of some widths were measured to do.

Widths 1, 4, 8, 16, … are measured one after the other, until a wider group gains too little or
would not fit in memory.
"""

from __future__ import annotations

import gc
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from trainables.devices import list_used_generators, uses_gpu
from trainables.lanes.group import Group
from trainables.lanes.reasons import CannotFuseError
from trainables.loop import TrainingRun, train
from trainables.memory_meter import MemoryMeter

_FIRST = 4
"""The narrowest group that is measured; two or three trainings share too little."""
_GROWTH = 1.10
"""A wider group is worth while if it takes so many times the steps."""
_LEAST = 0.9
"""Wider groups are measured if the first takes so many times the steps of trainings alone."""
_GAIN = 1.15
"""A group is worth while if it takes so many times the steps of its trainings alone."""
_MEMORY = 0.85
"""The share of free memory that a group may take, by prediction."""
_STEPS = 4
"""Steps of an epoch that is measured; those of a whole one follow from them."""
_ROUNDS = 3
_COMPARED = 2
"""Steps after the first in which a group still compares what it does at once."""
_ENDLESS = 2**31
SECONDS = 20.0
"""No wider group is measured after so long, unless less is said."""
LONG = 0.05
"""The seconds of a step whose calls cost next to nothing, beside what they compute."""


@dataclass(frozen=True)
class Measured:
    """A width, its steps in a second, of all its trainings together, and its memory in bytes."""

    width: int
    steps: float
    memory: int


def find_next_width(measured: Sequence[Measured], *, free: int, most: int) -> int | None:
    """The next width to measure; None if no wider one is to be.

    ``free`` are the bytes that a group may take, ``most`` is the largest width that is wanted.
    """
    if not measured:
        return 1
    last = measured[-1]
    least = _LEAST if len(measured) == 2 else _GROWTH
    grew = len(measured) < 2 or last.steps >= least * measured[-2].steps
    width = min(max(_FIRST, 2 * last.width), most)
    fits = width > last.width and predict_memory(measured, width) <= _MEMORY * free
    return width if grew and fits else None


def predict_memory(measured: Sequence[Measured], width: int) -> int:
    """The bytes of a wider group, in a line through the two widest that were measured.

    The narrowest say too little: a step also takes memory that does not grow with the lanes.
    """
    if len(measured) < 2:
        return measured[-1].memory * width // measured[-1].width
    before, last = measured[-2:]
    slope = (last.memory - before.memory) / (last.width - before.width)
    return round(last.memory + slope * (width - last.width))


def choose_width(measured: Sequence[Measured]) -> int:
    """The narrowest one that is next to the fastest; 1 if that gains too little.

    ``measured`` begins with a width of 1.
    """
    best = max(one.steps for one in measured)
    if best < _GAIN * measured[0].steps:
        return 1
    return next(one.width for one in measured if one.steps * _GROWTH >= best)


@dataclass(frozen=True)
class Advice:
    """How many trainings should share their steps; 1 if each should train alone.

    Attributes:
        width: the number.
        gain: how many times the epochs of trainings alone such a group trains in the same time.
        reason: why it is 1, in words; empty if it is not.
        measured: the widths that were measured, with epochs of a training a second as ``steps``.
        made: the seconds in which the shared programs of all widths were made.
    """

    width: int
    gain: float = 1.0
    reason: str = ""
    measured: Sequence[Measured] = ()
    made: float = 0.0

    def limit(self, most: int, epochs: int | None = None) -> Advice:
        """The advice where no more than ``most`` are wanted, from the same measurements."""
        fitting = [one for one in self.measured if one.width <= most]
        return _advise(fitting, self.made, epochs) if fitting else self

    def describe(self) -> str:
        """The advice in words."""
        if self.width == 1:
            return f"each trial trains alone: {self.reason}"
        return f"{self.width} trials share their steps, {self.gain:.2f} × as fast as alone"


def find_width(
    make: Callable[[int], TrainingRun],
    *,
    most: int,
    epochs: int | None = None,
    free: int | None = None,
    seconds: float = SECONDS,
) -> Advice:
    """How many trainings should share their steps, by measurement.

    It takes some seconds: short epochs of trainings alone and in groups, in turns, by the clock of
    the CPU (with several threads, by that on the wall). They read the data that trials read.

    Args:
        make: makes a training before its first step, of a number from 0 on. All have one
            architecture; regularisers should be those of usual trials.
        most: the largest width that is wanted.
        epochs: how many epochs the trainings of one process have in all. Where they are so few
            that making the shared programs takes longer than is gained, the width is 1.
        free: the bytes that a group may take; None for any.
        seconds: no wider group is measured after so long.
    """
    if most < 2:
        return Advice(1, reason="no more than one is wanted")
    most_bytes = sys.maxsize if free is None else free
    try:
        with torch.random.fork_rng(list_used_generators()):
            meter = _Meter(make)
            meter.measure(1)
            if meter.step > LONG:
                return Advice(1, reason=explain_long(meter.step))
            while width := find_next_width(meter.found, free=most_bytes, most=most):
                if time.monotonic() - meter.start > seconds and len(meter.found) > 1:
                    break
                meter.measure(width)
    except Exception as error:  # of whatever type a training raises: it trains alone, and says why
        return Advice(1, reason=str(error))
    return _advise(meter.found, meter.made, epochs)


def measure_gain(make: Callable[[int], TrainingRun], width: int) -> float | None:
    """How many times the epochs of trainings alone a group of a width trains in the same time.

    None if there is no such group. ``make`` is that of :func:`find_width`.
    """
    if width < _FIRST:
        return None
    with torch.random.fork_rng(list_used_generators()):
        meter = _Meter(make)
        try:
            meter.measure(1)
            meter.measure(width)
        except CannotFuseError:
            return None
    alone, shared = meter.found
    return shared.steps / alone.steps


def explain_long(step: float) -> str:
    """Why trainings train alone whose steps take so many seconds."""
    return f"a step alone takes {1000 * step:.0f} ms, beside which its calls cost next to nothing"


def _advise(measured: Sequence[Measured], made: float, epochs: int | None) -> Advice:
    """``made`` are the seconds in which the programs of all widths were made."""
    measured = tuple(measured)
    if len(measured) == 1:
        reason = f"{_FIRST} trials at once do not fit in the memory that is free"
        return Advice(1, reason=reason, measured=measured, made=made)
    width = choose_width(measured)
    steps = {one.width: one.steps for one in measured}
    best = max(measured[1:], key=lambda one: one.steps)
    gain = steps[width] / steps[1]
    if width == 1:
        reason = f"{best.width} at once train {best.steps / steps[1]:.2f} × as fast as alone"
        return Advice(1, reason=reason, measured=measured, made=made)
    saved = math.inf if epochs is None else epochs * (1 / steps[1] - 1 / steps[width])
    if saved < made:
        reason = f"{epochs} epochs save {saved:.1f} s, and what they share takes {made:.1f} s"
        return Advice(1, reason=reason, measured=measured, made=made)
    return Advice(width, gain, measured=measured, made=made)


@dataclass
class _Meter:
    """Measures widths, each beside the same trainings alone in turns.

    ``made`` are the seconds in which shared programs were made, ``step`` those of the last steps.
    """

    create: Callable[[int], TrainingRun]
    found: list[Measured] = field(default_factory=list)
    made: float = 0.0
    start: float = field(default_factory=time.monotonic)
    step: float = 0.0

    def __post_init__(self) -> None:
        self._base = _begin_to_count()
        self._alone = [_prepare(self.create(0))]
        self._steps = self._alone[0].rates.timetable.steps_per_epoch or _STEPS
        self._train_alone(1)

    def measure(self, width: int) -> None:
        """Measure a width.

        Raises:
            CannotFuseError: the trainings cannot share their steps.
        """
        if width == 1:
            steps = 1 / self._time_epoch(self._train_alone)
            memory = _measure_memory(self._alone, self._train_alone, self._base)
            self.found.append(Measured(1, steps, memory))
            return
        numbers = range(len(self._alone), width)
        self._alone += [_prepare(self.create(number)) for number in numbers]
        base, group = _begin_to_count(), Group()
        for number in range(width):
            group.take(_prepare(self.create(number)))
        advance = partial(_advance, group)
        self.made += max(0.0, _time(advance, 1) - _time(advance, 1))
        for warm in (self._train_alone, advance):
            warm(1 + _COMPARED)
        ratios = [
            self._time_epoch(self._train_alone) / self._time_epoch(advance) for _ in range(_ROUNDS)
        ]
        memory = _measure_memory(group.runs, advance, base)
        self.found.append(Measured(width, statistics.median(ratios) * self.found[0].steps, memory))

    def _train_alone(self, steps: int) -> None:
        for run in self._alone:
            _set_steps(run, steps)
            next(train(run))

    def _time_epoch(self, advance: Callable[[int], None]) -> float:
        """The seconds of a whole epoch, from those of two short ones."""
        if self._steps <= 1 + _STEPS:
            return _time(advance, self._steps)
        short, long = _time(advance, 1), _time(advance, 1 + _STEPS)
        self.step = max(0.0, long - short) / _STEPS
        return short + self.step * (self._steps - 1)


def _prepare(run: TrainingRun) -> TrainingRun:
    """The training without an end."""
    run.keeping.config, run.keeping.max_epochs = None, _ENDLESS
    run.keeping.forget()
    run.keeping.end_after(_ENDLESS)
    return run


def _set_steps(run: TrainingRun, steps: int) -> None:
    run.training = run.training.model_copy(update={"steps_per_epoch": steps})


def _advance(group: Group, steps: int) -> None:
    """Train an epoch of so many steps.

    Raises:
        CannotFuseError: a training does not share its steps.
    """
    for run in group.runs:
        _set_steps(run, steps)
    for outcome in group.advance().values():
        if isinstance(outcome, Exception):
            raise outcome
    if group.reasons:
        raise CannotFuseError(next(iter(group.reasons.values())))


def _time(advance: Callable[[int], None], steps: int) -> float:
    """The seconds of an epoch of so many steps."""
    computes_here = torch.get_num_threads() == 1 and not uses_gpu()
    clock = time.thread_time if computes_here else time.perf_counter
    start = clock()
    advance(steps)
    if uses_gpu():
        torch.cuda.synchronize()
    return clock() - start


def _begin_to_count() -> int:
    """The bytes of tensors on the GPU, where the count of a peak begins; 0 without a GPU."""
    if not uses_gpu():
        return 0
    gc.collect()
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()


def _measure_memory(runs: Sequence[TrainingRun], advance: Callable[[int], None], base: int) -> int:
    """The bytes of trainings at the peak of a short epoch: what they hold, and activations.

    On a GPU at the peak since ``base`` bytes were allocated, before they were made: later epochs
    replay graphs, whose activations lie in memory that torch does not count.
    """
    if runs[0].data.device != "cpu":
        return torch.cuda.max_memory_allocated() - base
    held = (
        leaf
        for run in runs
        for leaf in pytree.tree_leaves((run.state_dict(), [p.grad for p in run.model.parameters()]))
        if isinstance(leaf, Tensor)
    )
    meter = MemoryMeter(held)
    with meter:
        advance(1)
    return meter.take_peak()
