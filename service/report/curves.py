"""The finalists' curves, and the gap of every trial against its λ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite

from service.report.ordering import NAMES, by_order
from service.study.records import Trial, TrialState, find_gap
from service.sweep.sweep_record import Sweep

CURVES = ("train/loss", "train_reported/loss", "val/loss", "gap/loss", "gap_reported/loss")


@dataclass(frozen=True, kw_only=True)
class Curves:
    """One finalist's series, each as (epochs, values); ``best_epoch`` is the one restored.

    Of a trial with folds they are those of the first one, whose weights are kept.
    """

    role: str
    trial: int
    series: Mapping[str, tuple[tuple[int, ...], tuple[float, ...]]]
    best_epoch: int | None


def build_curves(role: str, trial: Trial) -> Curves:
    """The curves of a finalist up to its end."""
    kept = trial.folds[0] if trial.folds else trial.best
    first = replace(trial, epochs=tuple(e for e in trial.epochs if e.fold <= 1))
    series = {metric: first.series(metric) for metric in CURVES}
    best_epoch = kept.get("epoch")
    return Curves(
        role=role,
        trial=trial.number,
        series={m: (tuple(x), tuple(y)) for m, (x, y) in series.items() if x},
        best_epoch=None if best_epoch is None or not isfinite(best_epoch) else int(best_epoch),
    )


@dataclass(frozen=True)
class GapPoint:
    """One completed trial: its λ and its gap/loss."""

    trial: int
    lam: float
    gap: float


def collect_gap_points(sweep: Sweep) -> Mapping[str, tuple[GapPoint, ...]]:
    """Completed trials with a penalty and positive λ, by penalty, in order of λ."""
    found: dict[str, list[GapPoint]] = {}
    for trial in (t for t in sweep.searched if t.state is TrialState.COMPLETE):
        lam, gap = trial.params.get("lambda"), find_gap(trial.best)
        if trial.penalty != "none" and isinstance(lam, int | float) and lam > 0 and gap is not None:
            found.setdefault(trial.penalty, []).append(GapPoint(trial.number, float(lam), gap))
    names = sorted(found, key=by_order(NAMES))
    return {n: tuple(sorted(found[n], key=lambda p: (p.lam, p.trial))) for n in names}
