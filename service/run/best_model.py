"""Loads the best network of a sweep."""

from __future__ import annotations

import torch
from torch import nn

from service.base.errors import InputError
from service.spec.model import SweepSpec
from service.study.records import Role
from service.sweep.home import SweepFolder
from service.sweep.sweep_record import Sweep
from trainables.build import build_run
from trainables.data.datasets import load
from trainables.data.preprocessing import WithPreprocessing
from trainables.data.splits import Splits
from trainables.loop import TrainingRun


def load_best_run(
    spec: SweepSpec, sweep: Sweep, splits: Splits, folder: SweepFolder
) -> TrainingRun:
    """The training of the best trial at its kept weights, with the network in eval mode.

    Raises:
        InputError: no completed trial has weights.
    """
    best = sweep.best
    weights = folder.best_weights(best.number) if best else None
    if best is None or weights is None or not weights.exists():
        raise InputError(f"{folder.sweep_id} has no completed trial with weights")
    baseline = best.role is Role.BASELINE
    run = build_run(spec, best.params, splits, baseline=baseline, device="cpu")
    run.model.load_state_dict(torch.load(weights, weights_only=True, map_location="cpu"))
    run.model.eval()
    return run


def load_best_model(spec: SweepSpec, sweep: Sweep, folder: SweepFolder) -> nn.Module:
    """The best network with its preprocessing; takes raw inputs, returns the target's units.

    Raises:
        InputError: no completed trial has weights.
        TrainableError: the data or the user's code cannot be loaded.
    """
    splits = load(spec.data)
    run = load_best_run(spec, sweep, splits, folder)
    return WithPreprocessing(run.model, splits.preprocessing).eval()
