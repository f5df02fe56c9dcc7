"""Loads the best network of a sweep."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from service.base.errors import InputError, NotReadyError
from service.spec.model import SweepSpec
from service.study.records import Role
from service.sweep.home import SweepFolder
from service.sweep.load import blame
from service.sweep.sweep_record import Sweep
from trainables.data.datasets import open_rows
from trainables.data.no_rows import NoRows
from trainables.data.preprocessing import WithPreprocessing
from trainables.data.splits import Splits
from trainables.loops.opening import open_run
from trainables.run import Run


def load_best_run(spec: SweepSpec, sweep: Sweep, splits: Splits, folder: SweepFolder) -> Run:
    """The training of the best trial at its kept weights, with the network in eval mode.

    Raises:
        InputError: no completed trial has weights, or their file is damaged.
    """
    best = sweep.best
    if best is None:
        raise InputError(f"{folder.sweep_id} has no completed trial with weights")
    state = read_weights(folder, best.number)
    baseline = best.role is Role.BASELINE
    run = open_run(spec, best.params, splits, baseline=baseline, device="cpu")
    run.model.load_state_dict(state)
    run.model.eval()
    return run


def read_weights(folder: SweepFolder, number: int) -> Mapping[str, Tensor]:
    """The kept weights of a trial.

    Raises:
        NotReadyError: it has none.
        DamagedFileError: their file is damaged.
    """
    path = folder.best_weights(number)
    with blame(folder, path):
        try:
            with folder.open(path) as file:
                state: Mapping[str, Tensor] = torch.load(
                    file, weights_only=True, map_location="cpu"
                )
        except FileNotFoundError:
            raise NotReadyError(f"{folder.sweep_id} has no completed trial with weights") from None
    return state


def load_best_model(spec: SweepSpec, sweep: Sweep, folder: SweepFolder) -> nn.Module:
    """The best network with its preprocessing; takes raw inputs, returns the target's units.

    Raises:
        InputError: no completed trial has weights.
        TrainableError: the data or the user's code cannot be loaded.
    """
    rows = NoRows() if spec.data is None else open_rows(spec.data)
    splits = rows.divide_for_search(spec.search.folds)
    run = load_best_run(spec, sweep, splits, folder)
    return WithPreprocessing(run.model, splits.preprocessing).eval()
