"""A recorded sweep as a table: what every configuration measured, epoch by epoch, to its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_spaces.points import select_representable
from service.base.errors import InputError
from service.spec.model import SweepSpec
from service.study.ranking import select_searched
from service.study.records import OUT_OF_BUDGET, Metrics, Params, Role, Trial, TrialState
from service.sweep.home import SweepFolder
from service.sweep.load import read_sweep

Values = NDArray[np.float64]
FEWEST = 20
"""Configurations that a history needs: of fewer, the best of some is the best of all too often."""
_DRAWN = (Role.SEARCH, Role.ENQUEUED)
_SIDES = ("val/", "train/", "gap/")


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One training: the ``metrics`` of each epoch, its ``seconds``, what was ``best``.

    ``best`` has the metrics at the kept weights, which were those after the epoch ``kept``, counted
    from 1; None where they are of no single epoch.
    """

    params: Params
    role: Role
    metrics: Mapping[str, Values]
    seconds: Values
    best: Metrics
    kept: int | None

    @property
    def epochs(self) -> int:
        """How many epochs it took."""
        return len(self.seconds)


@dataclass(frozen=True, kw_only=True)
class History:
    """A recorded sweep whose trials all ran to their ends.

    ``spec`` has the space that was sampled, without automatic ranges. ``drawn`` are the
    configurations that a search may draw; the ``baseline`` comes before them, if there is one.
    """

    name: str
    spec: SweepSpec
    drawn: tuple[Recording, ...]
    baseline: Recording | None

    @property
    def epochs(self) -> int:
        """The epochs of all configurations."""
        return sum(r.epochs for r in self.drawn)


def read_folder(folder: SweepFolder) -> History:
    """Read the history of a sweep's folder.

    Raises:
        InputError: the sweep was pruned, had folds, has too few trials, or lacks epochs.
        NotReadyError, ConflictError, DamagedFileError: as :func:`service.sweep.load.read_sweep`.
    """
    spec, study, sweep = read_sweep(folder)
    searched = select_searched(sweep.trials)
    _refuse_pruned(folder.sweep_id, searched)
    spec = spec.with_space(study.space)
    complete = [t for t in searched if t.state is TrialState.COMPLETE]
    names = _choose_metrics(spec, complete)
    rows = [
        _read_recording(folder.sweep_id, t, names)
        for t in complete
        if t.role is Role.BASELINE or (t.role in _DRAWN and _is_of_space(spec, t.params))
    ]
    return build_history(folder.sweep_id, spec, rows)


def build_history(name: str, spec: SweepSpec, rows: Sequence[Recording]) -> History:
    """A history of these recordings.

    Raises:
        InputError: they are too few, or of several folds each.
    """
    if spec.search.folds is not None:
        raise InputError(
            f"{name} trained each configuration on {spec.search.folds} folds (search.folds); a "
            "replay needs one course of epochs for each: record a sweep without folds"
        )
    drawn = tuple(r for r in rows if r.role is not Role.BASELINE)
    if len(drawn) < FEWEST:
        raise InputError(
            f"{name} has {len(drawn)} complete trials of its search; a replay draws from at least "
            f"{FEWEST}: extend it by `gapsweep resume {name} --trials {FEWEST - len(drawn)}`"
        )
    baseline = next((r for r in rows if r.role is Role.BASELINE), None)
    return History(name=name, spec=spec, drawn=drawn, baseline=baseline)


def _refuse_pruned(name: str, trials: Sequence[Trial]) -> None:
    pruned = [t for t in trials if t.state is TrialState.PRUNED and t.reason != OUT_OF_BUDGET]
    if pruned:
        raise InputError(
            f"{name} was pruned: {len(pruned)} of its {len(trials)} trials did not run to their "
            "ends, so that nobody knows what they would have come to; record a sweep with "
            "`--set search.pruner=none`"
        )


def _is_of_space(spec: SweepSpec, params: Params) -> bool:
    """Whether the space can draw a configuration."""
    active = spec.space.find_dimensions(params)
    return len(select_representable(spec.space, params)) == len(active)


def _choose_metrics(spec: SweepSpec, trials: Sequence[Trial]) -> list[str]:
    """What is needed of each epoch, and both sides of the gap where every epoch has them."""
    epochs = [e.metrics for t in trials for e in t.epochs]
    everywhere = set.intersection(*map(set, epochs)) if epochs else set()
    sides = {name for name in everywhere if name.startswith(_SIDES)}
    return sorted({*spec.required_metrics, *sides})


def _read_recording(name: str, trial: Trial, metrics: Sequence[str]) -> Recording:
    numbers = [e.epoch for e in trial.epochs]
    if not numbers or numbers != list(range(1, len(numbers) + 1)):
        raise InputError(f"{name} lacks epochs of trial {trial.number}: its history is not whole")
    lacking = [m for m in metrics if any(m not in e.metrics for e in trial.epochs)]
    if lacking:
        raise InputError(
            f"{name} lacks {lacking[0]} in epochs of trial {trial.number}: a replay needs it in "
            "every epoch"
        )
    kept = int(trial.best.get("epoch", 0))
    return Recording(
        params=trial.params,
        role=trial.role,
        metrics={m: np.array([e.metrics[m] for e in trial.epochs]) for m in metrics},
        seconds=_measure_seconds(trial),
        best={m: trial.best[m] for m in metrics if m in trial.best},
        kept=kept if 1 <= kept <= len(numbers) else None,
    )


def _measure_seconds(trial: Trial) -> Values:
    """The time of each epoch, the first with the trial's start; a pause of the sweep is left out.

    ``trial.seconds`` has none: the longest epoch is shortened by what the others leave of it.
    """
    times = np.array([e.time for e in trial.epochs])
    later = np.maximum(0.0, np.diff(times))
    typical = float(np.median(later)) if len(later) else trial.seconds
    started = trial.started
    first = typical if started is None or started > times[0] else float(times[0]) - started
    seconds = np.array([first, *later], dtype=np.float64)
    paused = float(seconds.sum()) - trial.seconds
    if trial.seconds and paused > 0:
        longest = int(seconds.argmax())
        seconds[longest] = max(min(typical, seconds[longest]), seconds[longest] - paused)
    return seconds
