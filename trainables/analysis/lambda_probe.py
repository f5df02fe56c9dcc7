"""What λ does to a training: by short probes, or of a linear model by its data.

A probe trains without a penalty for some steps, then with one whose λ grows from step to step until
the weights are gone.
"""

from __future__ import annotations

import copy
import itertools
import math
import operator
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch

from trainables.compat import seed_torch
from trainables.devices import list_generators
from trainables.distributed.process import derive_seed
from trainables.errors import blame
from trainables.loop import TrainingRun, build_now, take_step
from trainables.regularisers.penalties import Penalty
from trainables.regularisers.penalty_steps import measure_sparsity
from trainables.stepping import Marked, mark_last

SHRINKS = 0.05
"""The share by which weights shrink over a run at the low end of a range."""
_REACHED = 0.95
"""The share of the way to the constant predictor's loss at which it counts as reached."""
_WARM, _MOST = 100, 400
_PER_DECADE, _FEWEST_PER_DECADE = 20, 3
"""Steps while λ grows tenfold."""
_SLOWER = 4
"""How much slower λ grows once half of the weights is gone, because they follow late."""
_SMOOTHED = 10
_GONE = 1e-3
_PATIENCE = 20.0
"""Seconds that the steps without penalty, and those of four decades of λ, may take; then fewer."""
_LEAST = 5
_TELLING = 0.01
"""The share of the last loss from which on a rise of the loss is more than chance."""


@dataclass(frozen=True)
class Strength:
    """What λ of one penalty does in a run of so many ``epochs``.

    ``pull`` is the share by which a median weight shrinks over the run at λ = 1 if the loss does
    not resist, to first order; 0 where the penalty acts on no weight. At ``high`` the training
    loss is that of the constant predictor, with a share of ``zeros`` among the penalised weights;
    None where it was not looked for. ``diverges``: the training does at a larger λ.
    """

    epochs: int
    pull: float
    high: float | None = None
    zeros: float | None = None
    diverges: bool = False

    @property
    def low(self) -> float:
        """λ at which weights shrink by 5 % over the run; needs a pull."""
        return -math.log1p(-SHRINKS) / self.pull

    def half_life(self, lam: float) -> float:
        """In how many epochs a weight is halved if the loss does not resist; infinite for λ = 0."""
        if not lam:
            return math.inf
        return self.epochs * math.log(2) / (self.pull * lam)


Build = Callable[[], TrainingRun]
"""Builds a training with the penalty at λ = 1; its weights are the same each time."""


@dataclass(frozen=True)
class _Warm:
    """A training after some steps without penalty: its states, its loss, the time of a step."""

    states: tuple[Any, Any]
    loss: float
    seconds: float

    @property
    def per_decade(self) -> int:
        """How many steps a probe takes while λ grows tenfold."""
        affordable = int(_PATIENCE / 4 / self.seconds) if self.seconds else _PER_DECADE
        return min(_PER_DECADE, max(_FEWEST_PER_DECADE, affordable))


class Prober:
    """Probes penalties of one training, which warms up without any of them once."""

    def __init__(self, steps: int) -> None:
        """``steps`` is how many an epoch has."""
        self._steps = steps
        self._warm: _Warm | None = None

    def probe(self, build: Build, *, until: float | None = None) -> Strength:
        """What λ does; with ``until`` as far as this value, else as far as the weights are gone.

        Raises:
            ContractError: user-defined code failed.
        """
        run = build()
        with torch.random.fork_rng(list_generators(run.data.device)), blame("trainable"):
            return _Probe(run, self._steps).run(self, until)

    def warm_up(self, run: TrainingRun, step: Callable[[], float], most: int) -> _Warm:
        """Bring a run's weights to where a training without penalty has them."""
        if self._warm is None:
            began = time.monotonic()
            losses = list(_take_in_time(step, most))
            seconds = (time.monotonic() - began) / len(losses)
            loss = sum(losses[-_SMOOTHED:]) / len(losses[-_SMOOTHED:])
            states = run.model.state_dict(), run.parts.optimizer.state_dict()
            self._warm = _Warm(copy.deepcopy(states), loss, seconds)
        model, optimizer = self._warm.states
        run.model.load_state_dict(model)
        run.parts.optimizer.load_state_dict(copy.deepcopy(optimizer))
        return self._warm


class _Probe:
    """One probe: a training whose λ is set from step to step, at its highest learning rate."""

    def __init__(self, run: TrainingRun, steps: int) -> None:
        self._run, training = run, run.training
        self._penalty = next(r for r in run.parts.regularisers.all if isinstance(r, Penalty))
        self._weights = [w for w in run.penalised if self._penalty.acts_on_weight(w)]
        factors = run.rates.hold()
        self._now = build_now(run, epoch=1)
        self._epochs = training.max_epochs
        strengths = (training.lambda_factor(e + 1) for e in range(self._epochs))
        self._whole = steps * sum(map(operator.mul, factors, strengths))
        self._first = min(_WARM, max(1, steps * self._epochs // 2))
        self._batches = _feed(run)

    def run(self, prober: Prober, until: float | None) -> Strength:
        warm = prober.warm_up(self._run, lambda: self._step(0.0), self._first)
        found = Strength(self._epochs, self._measure_pull())
        if not found.pull:
            return found
        return self._grow(found, warm) if until is None else self._reach(found, warm, until)

    def _step(self, lam: float) -> float:
        """The loss of a step of the training at this λ."""
        self._now.lambda_factor = lam
        self._penalty.before_epoch(self._now)
        taken = take_step(self._run, self._batches, 1, self._now)
        assert taken is not None  # batches never end
        return float(taken.loss) / taken.count

    def _measure_pull(self) -> float:
        """See :class:`Strength`."""
        pulls = [
            self._penalty.measure_pull(w, self._now).expand_as(w.weight) for w in self._weights
        ]
        if not pulls:
            return 0.0
        pull = torch.cat([p.flatten() for p in pulls]).median()
        size = torch.cat([w.weight.detach().abs().flatten() for w in self._weights]).median()
        return self._whole * float(pull / size) if size else 0.0

    def _reach(self, found: Strength, warm: _Warm, until: float) -> Strength:
        """Let λ grow to a value."""
        if until > found.low:
            for lam in _list_growing(found.low, until, warm.per_decade):
                if not math.isfinite(self._step(lam)):
                    return replace(found, diverges=True)
        return replace(found, zeros=measure_sparsity(self._run.penalised))

    def _grow(self, found: Strength, warm: _Warm) -> Strength:
        """Let λ grow until the weights are gone, and find where the loss was that of the end."""
        path, lam = [_Point(0.0, warm.loss, self._measure_size(), 0.0)], found.low
        gone, half = _GONE * path[0].size, path[0].size / 2
        slower = 1
        while path[-1].size >= gone and len(path) <= _MOST:
            now = self._step(lam)
            if not math.isfinite(now):
                return replace(found, high=max(found.low, lam / 10), diverges=True)
            zeros = measure_sparsity(self._run.penalised)
            path.append(_Point(lam, now, self._measure_size(), zeros))
            slower = _SLOWER if path[-1].size < half else slower
            lam *= 10 ** (1 / (slower * warm.per_decade))
        reached = _find_reached(path)
        return replace(found, high=reached.lam, zeros=reached.zeros)

    @torch.no_grad()
    def _measure_size(self) -> float:
        return float(torch.stack([w.weight.norm() for w in self._weights]).norm())


class _Point(NamedTuple):
    """A step of a probe: λ, the loss of the batch before it, the weights' norm, share of zeros."""

    lam: float
    loss: float
    size: float
    zeros: float


def _find_reached(path: Sequence[_Point]) -> _Point:
    """The first point at which the loss, smoothed, is nearly that of the end.

    Where both ends have nearly the same loss, the first one at which the weights are nearly gone.
    """
    first, *grown = path
    losses = [p.loss for p in grown]
    smoothed = [
        sum(losses[max(0, n - _SMOOTHED + 1) : n + 1]) / min(n + 1, _SMOOTHED)
        for n in range(len(losses))
    ]
    rise = smoothed[-1] - first.loss
    if rise > _TELLING * abs(smoothed[-1]):
        limit = first.loss + _REACHED * rise
        return next(p for p, loss in zip(grown, smoothed, strict=True) if loss >= limit)
    small = (1 - _REACHED) * first.size
    return next((p for p in grown if p.size <= small), grown[-1])


def _feed(run: TrainingRun) -> Marked:
    """Batches without end, epoch after epoch."""
    training, train = run.training, run.data.train
    run.model.train()
    for epoch in itertools.count(1):
        seed = derive_seed(training.seed, epoch)
        seed_torch(seed)
        fed = train.feed(run.plan(), run.parts.process, seed)
        yield from mark_last(itertools.islice(fed, run.batches_per_epoch), training.accumulate)


def _take_in_time(step: Callable[[], float], most: int) -> Iterator[float]:
    """The losses of so many steps, or of fewer if they take long."""
    began = time.monotonic()
    for number in range(most):
        if number >= _LEAST and time.monotonic() - began > _PATIENCE:
            return
        yield step()


def _list_growing(low: float, high: float, per_decade: int) -> Iterator[float]:
    """λ from ``low`` up to ``high``, which is the last value."""
    count = min(_MOST, max(1, math.ceil(math.log10(high / low) * per_decade)))
    return (low * (high / low) ** (n / count) for n in range(1, count + 1))
