"""Measures what is left of a search on held-out samples, when no choice is left to make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import NormalDist

import numpy as np
import torch
from torch import Tensor

from service.spec.model import SweepSpec
from service.study.attributes import Finding
from service.study.ranking import CONTROL_PREFIX
from service.study.records import Role, Trial
from service.sweep.home import SweepFolder
from service.sweep.sweep_record import Sweep
from trainables.analysis.held_out import (
    HeldOut,
    list_val_inputs,
    measure_held_out,
    measure_standard_error,
)
from trainables.analysis.measure_anatomy import measure_anatomy
from trainables.config.anatomy import ANATOMY_ROWS, Anatomy
from trainables.data.splits import Splits
from trainables.loops.opening import open_run
from trainables.run import Run

_QUANTILE = 0.975


def measure_finalists(
    spec: SweepSpec, splits: Splits, folder: SweepFolder, sweep: Sweep
) -> Iterator[tuple[int, Finding]]:
    """What is found of baseline, control and best trial, by number; each is measured once."""
    finalists = {t.number: t for t in (sweep.baseline, sweep.control, sweep.best) if t is not None}
    for trial in finalists.values():
        if trial.anatomy is not None or not folder.best_weights(trial.number).exists():
            continue
        run = build_finalist(spec, trial, splits)
        state = read_weights(folder.best_weights(trial.number))
        found = measure_held_out(run, splits, state)
        metrics, errors = dict(found.metrics), dict(found.errors)
        marked, control_anatomy = folder.control_weights(trial.number), None
        if marked.exists():
            kept = read_weights(marked)
            control = measure_held_out(run, splits, kept)
            metrics |= {f"{CONTROL_PREFIX}{k}": v for k, v in control.metrics.items()}
            errors |= {f"{CONTROL_PREFIX}{k}": v for k, v in control.errors.items()}
            control_anatomy = _inspect(run, kept)
        yield trial.number, Finding(metrics, _inspect(run, state), errors, control_anatomy)


def _inspect(run: Run, state: Mapping[str, Tensor]) -> Anatomy:
    run.model.load_state_dict(state)
    return measure_anatomy(run.model, run.penalised, list_val_inputs(run, ANATOMY_ROWS))


def measure_difference(
    spec: SweepSpec, splits: Splits, folder: SweepFolder, sweep: Sweep
) -> float | None:
    """The standard error of best minus control, by the validation samples, in the objective.

    None if the objective is not a metric of validation samples with a value for each of them. Of
    trials with folds it follows from the differences on each fold, see :func:`measure_over_folds`.
    """
    best, control = sweep.best, sweep.control
    side, _, name = sweep.metric.partition("/")
    if best is None or control is None or best.number == control.number:
        return None
    if best.folds:
        return measure_over_folds(best, control, sweep.metric)
    if side != "val":
        return None
    marked = folder.control_weights(control.number)
    reference = marked if marked.exists() else folder.best_weights(control.number)
    ours = _score(spec, splits, best, folder.best_weights(best.number))
    theirs = _score(spec, splits, control, reference)
    if ours is None or theirs is None:
        return None
    return measure_standard_error(ours.val.get(name), theirs.val.get(name))


def measure_over_folds(best: Trial, control: Trial, metric: str) -> float | None:
    """The standard error of the mean difference over the folds, for a normal quantile.

    The variance is that of Nadeau and Bengio (2003), who add the share of validation samples to
    training samples, because the folds' trainings share most of their samples; there are few folds,
    so that it is widened by the ratio of Student's quantile to the normal one. None if a fold is
    missing.
    """
    from scipy.special import stdtrit  # half a second that no trial needs

    pairs = list(zip(best.folds, control.folds, strict=False))
    folds = len(best.folds)
    if len(pairs) < max(2, folds) or not all(metric in fold for pair in pairs for fold in pair):
        return None
    variance = np.var([ours[metric] - theirs[metric] for ours, theirs in pairs], ddof=1)
    wider = stdtrit(folds - 1, _QUANTILE) / NormalDist().inv_cdf(_QUANTILE)
    return float(wider * np.sqrt((1 / folds + 1 / (folds - 1)) * variance))


def _score(spec: SweepSpec, splits: Splits, trial: Trial, weights: Path) -> HeldOut | None:
    if not weights.exists():
        return None
    return measure_held_out(build_finalist(spec, trial, splits), splits, read_weights(weights))


def build_finalist(spec: SweepSpec, trial: Trial, splits: Splits) -> Run:
    """The training of a trial of the search, on the CPU."""
    baseline = trial.role is Role.BASELINE
    return open_run(spec, trial.params, splits, baseline=baseline, device="cpu", seed=trial.seed)


def read_weights(path: Path) -> Mapping[str, Tensor]:
    """Weights that a trial has kept."""
    state: Mapping[str, Tensor] = torch.load(path, weights_only=True, map_location="cpu")
    return state
