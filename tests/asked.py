"""Loops that ask for trials, as tests have them: what they report is a function of the trial."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from service.run.asked_sweep import AskedSweep
from service.run.asked_trial import AskedTrial, Signal
from service.study.records import Trial

SPEC: dict[str, Any] = {
    "name": "elsewhere",
    "training": {"max_epochs": 6},
    "space": {"dropout": {"float": [0.0, 0.6]}},
    "search": {"sampler": "random", "pruner": "none"},
    "early_stopping": {"patience": 2},
    "budget": {"trials": 4},
    "confirm": "off",
}


def measure(trial: AskedTrial, epoch: int) -> dict[str, float]:
    """The metrics of an epoch: best at epoch 3, and at a dropout of 0.3."""
    noise = random.Random(f"{trial.params['dropout']} {trial.seed} {epoch}").gauss(0, 0.002)
    val = 0.5 + (float(trial.params["dropout"]) - 0.3) ** 2 + 0.02 * abs(epoch - 3) + noise
    return {"train/loss": val - 0.2, "val/loss": val}


def train(trial: AskedTrial) -> list[Signal]:
    """Report epochs until one says stop."""
    signals: list[Signal] = []
    while not signals or not signals[-1].stop:
        signals.append(trial.report(measure(trial, trial.epoch + 1)))
    return signals


def train_all(sweep: AskedSweep, *, tested: bool = False) -> list[AskedTrial]:
    """Train until nothing is left; replicates are ``tested``."""
    trials = []
    for trial in sweep:
        train(trial)
        told = {"test/loss": measure(trial, 3)["val/loss"]} if tested and trial.replicate else {}
        control = told if tested and trial.replicate and trial.is_baseline else {}
        sweep.tell(trial, told, control=control)
        trials.append(trial)
    return trials


def facts(trial: Trial) -> Trial:
    """A trial without when, how long and where it was trained."""
    epochs = tuple(replace(epoch, time=0.0) for epoch in trial.epochs)
    return replace(trial, epochs=epochs, seconds=0.0, started=None, ended=None, ran_on={})
