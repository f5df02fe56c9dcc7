"""Replays searches many times, and what each pruner and sampler came to on each history."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from service.base.errors import InputError
from service.replay.recorded_trainings import Courses
from service.replay.simulation import Replay, replay
from service.replay.statistics import (
    Estimate,
    Fate,
    estimate_difference,
    estimate_mean,
    estimate_median,
    estimate_share,
    find_fate,
    quantile,
    trace_regret,
)
from service.replay.variants import Variant

POINTS = 60
"""Places along a curve of regret."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How searches are replayed: trials of each, slots, repeats with seeds from ``seed`` on."""

    trials: int
    slots: int
    repeats: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Regret against something: the median over the replays, and what 90 % do not exceed."""

    at: tuple[float, ...]
    median: tuple[float, ...]
    worst_tenth: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Losses:
    """How often the best configuration that a search tried was pruned, by its strength.

    ``best`` is of all searches, ``when_strong`` of those whose best is strongly regularised,
    ``when_weak`` of the others. ``strong`` and ``weak`` are of the best of either half, in all
    searches, and ``difference`` is the first minus the second.
    """

    best: Estimate | None
    when_strong: Estimate | None
    when_weak: Estimate | None
    strong: Estimate | None
    weak: Estimate | None
    difference: Estimate | None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a pruner and a sampler came to on one history.

    ``regret`` is the final one, in units of the objective, and ``worst_tenth`` what 90 % of the
    searches do not exceed.
    """

    pruner: str
    sampler: str
    epochs: Estimate
    seconds: Estimate
    regret: Estimate
    worst_tenth: float
    losses: Losses
    by_epochs: Curve
    by_seconds: Curve


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A history, and what each pruner and sampler came to on it."""

    history: str
    configurations: int
    trials: int
    metric: str
    best: float
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, kw_only=True)
class Overall:
    """What a pruner and a sampler came to on all histories: their fates counted together."""

    pruner: str
    sampler: str
    losses: Losses


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All of it. ``overall`` is empty for one history."""

    setting: Setting
    histories: tuple[Compared, ...]
    overall: tuple[Overall, ...]


Jobs = Sequence[tuple[Courses, Sequence[Variant]]]


def check_trials(trials: int, courses: Sequence[Courses]) -> None:
    """Refuse a search of more trials than a history has.

    Raises:
        InputError: it is one.
    """
    for found in courses:
        if trials > (most := count_trials(found)):
            first = "" if found.baseline is None else "its baseline and "
            raise InputError(
                f"{found.history.name} has {first}{len(found.drawn)} configurations, and a search "
                f"draws each once at most: set --trials to {most} or fewer, got {trials}"
            )


def count_trials(courses: Courses) -> int:
    """The most trials of a search: the baseline, and each configuration once."""
    return len(courses.drawn) + (courses.baseline is not None)


def compare(jobs: Jobs, setting: Setting, ended: Callable[[], None] = lambda: None) -> Comparison:
    """Replay every variant on every history; ``ended`` is called after each search.

    Raises:
        ContractError: a user-defined class cannot be imported or does not accept an option.
    """
    histories, fates = [], []
    for courses, variants in jobs:
        found = [list(_repeat(courses, variant, setting, ended)) for variant in variants]
        fates.append([[find_fate(courses, r) for r in replays] for replays in found])
        histories.append(_summarise(courses, variants, found, setting))
    return Comparison(
        setting=setting,
        histories=tuple(histories),
        overall=tuple(_join(jobs[0][1], fates)) if len(jobs) > 1 else (),
    )


def _repeat(
    courses: Courses, variant: Variant, setting: Setting, ended: Callable[[], None]
) -> Iterator[Replay]:
    for seed in range(setting.seed, setting.seed + setting.repeats):
        yield replay(courses, variant.with_seed(seed), trials=setting.trials, slots=setting.slots)
        ended()


def _summarise(
    courses: Courses,
    variants: Sequence[Variant],
    found: Sequence[Sequence[Replay]],
    setting: Setting,
) -> Compared:
    spec = courses.history.spec
    most = [max(getattr(r, what) for rs in found for r in rs) for what in ("epochs", "seconds")]
    epochs, seconds = (tuple(np.linspace(0, end, POINTS + 1)[1:].tolist()) for end in most)
    sign = -1.0 if spec.objective.mode == "max" else 1.0
    return Compared(
        history=courses.history.name,
        configurations=len(courses.drawn),
        trials=setting.trials,
        metric=spec.objective.metric,
        best=sign * courses.best[1],
        outcomes=tuple(
            _measure(courses, variant, replays, epochs, seconds)
            for variant, replays in zip(variants, found, strict=True)
        ),
    )


def _measure(
    courses: Courses,
    variant: Variant,
    replays: Sequence[Replay],
    epochs: tuple[float, ...],
    seconds: tuple[float, ...],
) -> Outcome:
    by_epochs = trace_regret(courses, replays, epochs, lambda i: i.epochs)
    by_seconds = trace_regret(courses, replays, seconds, lambda i: i.seconds)
    final = by_epochs[:, -1].tolist()
    return Outcome(
        pruner=variant.pruner,
        sampler=variant.sampler,
        epochs=estimate_mean([r.epochs for r in replays]),
        seconds=estimate_mean([r.seconds for r in replays]),
        regret=estimate_median(final),
        worst_tenth=quantile(final, 0.9),
        losses=count_losses([find_fate(courses, r) for r in replays]),
        by_epochs=_draw(epochs, by_epochs),
        by_seconds=_draw(seconds, by_seconds),
    )


def _draw(
    at: tuple[float, ...], regrets: np.ndarray[tuple[int, int], np.dtype[np.float64]]
) -> Curve:
    columns = regrets.T
    return Curve(
        at=at,
        median=tuple(quantile(c, 0.5) for c in columns),
        worst_tenth=tuple(quantile(c, 0.9) for c in columns),
    )


def count_losses(fates: Iterable[Fate | None]) -> Losses:
    """The shares of searches that pruned the best configuration they tried."""
    known = [fate for fate in fates if fate is not None]
    return Losses(
        best=estimate_share([f.best for f in known]),
        when_strong=estimate_share([f.best for f in known if f.is_strong]),
        when_weak=estimate_share([f.best for f in known if not f.is_strong]),
        strong=estimate_share([f.strong for f in known]),
        weak=estimate_share([f.weak for f in known]),
        difference=estimate_difference([(f.strong, f.weak) for f in known]),
    )


def _join(
    variants: Sequence[Variant], fates: Sequence[Sequence[Sequence[Fate | None]]]
) -> Iterator[Overall]:
    for place, variant in enumerate(variants):
        every = [fate for of_history in fates for fate in of_history[place]]
        yield Overall(pruner=variant.pruner, sampler=variant.sampler, losses=count_losses(every))
