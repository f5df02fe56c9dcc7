"""Sweeps that have the same trials, whether or not these share their steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from service.sweep.home import SweepFolder
from service.sweep.sweep_record import Sweep
from tests.contract.sweeps import facts

CHANGES: dict[str, Any] = {
    "training": {"max_epochs": 8, "lr": 0.05},
    "early_stopping": {"patience": 1, "min_delta": 0.05},
    "search": {"sampler": "random", "pruner": {"name": "threshold", "upper": 0.15}},
    "budget": {"trials": 10},
    "confirm": {"top_k": 1, "trainings": 10},
}
"""What a sweep can have, with nothing that depends on which trials ended before."""


def read_weights(folder: SweepFolder, sweep: Sweep) -> Mapping[int, Mapping[str, torch.Tensor]]:
    """The weights that are kept, by trial."""
    kept = [t.number for t in sweep.trials if folder.best_weights(t.number).exists()]
    assert kept
    return {n: torch.load(folder.best_weights(n), weights_only=True) for n in kept}


def check_same(one: tuple[SweepFolder, Sweep], other: tuple[SweepFolder, Sweep]) -> None:
    """Both sweeps have the same trials, to the last bit of their epochs and weights."""
    for mine, wanted in zip(one[1].trials, other[1].trials, strict=True):
        assert facts(mine) == facts(wanted)
    mine_kept, wanted_kept = read_weights(*one), read_weights(*other)
    assert mine_kept.keys() == wanted_kept.keys()
    for number, weights in mine_kept.items():
        assert weights.keys() == wanted_kept[number].keys()
        assert all(torch.equal(weights[k], wanted_kept[number][k]) for k in weights), number
