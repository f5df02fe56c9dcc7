"""What a cross-validated search is worth at the same number of epochs: one split against folds.

``python -m tests.benchmarks.search_folds [--data wine breast_cancer] [--seeds 10] [--epochs 600]``

For every table and seed (of the test rows, the split, the weights and the sampler) searches train
so many epochs in all: on one split, on 5 folds, and on 5 folds of which trials that fall behind
lose the last ones, by three rules. No pruner of epochs runs. The pick of each, the best complete
trial, is trained again with five new seeds on new divisions, and tested on rows that no search has
seen.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import optuna
from scipy import stats
from sklearn.datasets import load_wine

from service.cluster.divisions import TrialContext
from service.run.first_points import plan_search
from service.run.local_executor import run_trials_here
from service.run.session_plan import plan_folds
from service.spec.file import parse_spec
from service.spec.model import SweepSpec
from service.study.events import Observer
from service.study.ranking import Ranking
from service.study.records import Epoch, Trial
from service.study.seeded_sampler import ResumableSampler
from service.study.session import StudySession
from service.study.study import SweepStudy
from service.study.trial_flow import TrialFlow
from trainables.analysis.held_out import measure_held_out
from trainables.build import build_run
from trainables.data.datasets import open_rows
from trainables.data.rows import Rows
from trainables.loop import train

_EPOCHS = 20
_REPLICATES = 5
_SEARCHES: Mapping[str, Mapping[str, Any]] = {
    "one split": {},
    "5 folds": {"folds": 5, "fold_pruner": "none"},
    "forgiving": {"folds": 5, "fold_pruner": "forgiving"},
    "paired": {"folds": 5, "fold_pruner": "paired"},
    "aggressive": {"folds": 5, "fold_pruner": "aggressive"},
}


def load_wines() -> Any:
    """178 wines, 13 features, three classes, as one table."""
    x, y = load_wine(return_X_y=True)
    return x.astype(np.float32), y


@dataclass(frozen=True)
class Outcome:
    """The pick's mean test loss over its replicates, and how many trials the search completed."""

    test: float
    complete: int


class Counter(Observer):
    """Counts the epochs of a search."""

    def __init__(self) -> None:
        self.epochs = 0

    def epoch(self, epoch: Epoch) -> None:
        """One more."""
        self.epochs += 1


def make_spec(data: str, search: Mapping[str, Any], seed: int, folder: Path) -> SweepSpec:
    """The spec of one search."""
    source: dict[str, Any] = {"name": "breast_cancer"}
    if data == "wine":
        x, y = load_wines()
        np.savez(folder / "wine.npz", x=x, y=y)
        source = {"name": "npz", "path": "wine.npz"}
    raw = {
        "name": "folds",
        "trainable": "trainables.models:MLP",
        "model": {"hidden": [64]},
        "data": {**source, "seed": seed},
        "training": {"max_epochs": _EPOCHS, "batch_size": 32, "lr": 0.01, "seed": seed},
        "space": {
            "penalty": {"choice": ["none", "l1", "l2"]},
            "lambda": {
                "float": [1e-4, 1.0],
                "log": True,
                "when": {"penalty": ["l1", "l2"]},
            },
            "dropout": {"float": [0.0, 0.7]},
            "mixup": {"float": [0.0, 1.0]},
        },
        "search": {"seed": seed, "pruner": "none", **search},
        "budget": {"trials": 10_000},
        "resources": {"executor": "local"},
    }
    return parse_spec(raw, "spec", folder)


def search(spec: SweepSpec, rows: Rows, epochs: int, folder: Path) -> tuple[Trial, int]:
    """The best trial after so many epochs, and the number of complete ones."""
    counter = Counter()
    study = optuna.create_study(sampler=ResumableSampler(spec.search.sampler, spec.search.seed))
    session = StudySession(
        SweepStudy(study),
        spec.space,
        metric=spec.objective.metric,
        max_epochs=spec.training.max_epochs,
        folds=plan_folds(spec),
        observers=[counter],
    )
    session.prepare(*plan_search(spec))
    flow = TrialFlow(session, lambda: counter.epochs >= epochs, lambda: 1)
    run_trials_here(flow, TrialContext(spec, rows, folder))
    if flow.error is not None:
        raise flow.error
    trials = session.trials()
    best = Ranking.of(spec).best(trials)
    assert best is not None, "no trial completed"
    return best, sum(t.value is not None for t in trials)


def measure_pick(spec: SweepSpec, rows: Rows, pick: Trial) -> float:
    """The mean test loss of a configuration, trained anew on new divisions."""
    losses = []
    for replicate in range(1, _REPLICATES + 1):
        splits = rows.divide(replicate)
        seed = 1000 + replicate
        run = build_run(spec, pick.params, splits, baseline=False, device="cpu", seed=seed)
        for _ in train(run):
            pass
        losses.append(measure_held_out(run, splits, run.best_state).metrics["test/loss"])
    return fmean(losses)


def measure(data: str, name: str, seed: int, epochs: int) -> Outcome:
    """One search, and its pick's test loss."""
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        spec = make_spec(data, _SEARCHES[name], seed, folder)
        rows = open_rows(spec.data)
        pick, complete = search(spec, rows, epochs, folder)
        return Outcome(measure_pick(spec, rows, pick), complete)


def main() -> None:
    """A line for every seed, then the means and the paired differences from one split."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", nargs="+", default=["wine", "breast_cancer"])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=600)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for data in options.data:
        print(f"{data}: test loss of the pick (complete trials)", flush=True)
        print("seed  " + "  ".join(f"{name:>14s}" for name in _SEARCHES), flush=True)
        found: dict[str, list[Outcome]] = {name: [] for name in _SEARCHES}
        for seed in range(options.seeds):
            for name, outcomes in found.items():
                outcomes.append(measure(data, name, seed, options.epochs))
            last = (outcomes[-1] for outcomes in found.values())
            cells = (f"{o.test:8.4f} ({o.complete:3d})" for o in last)
            print(f"{seed:4d}  " + "  ".join(cells), flush=True)
        _summarise(found)


def _summarise(found: Mapping[str, list[Outcome]]) -> None:
    reference = np.array([outcome.test for outcome in found["one split"]])
    for name, outcomes in found.items():
        losses = np.array([outcome.test for outcome in outcomes])
        complete = fmean(outcome.complete for outcome in outcomes)
        line = f"{name:12s} {losses.mean():.4f}, {complete:.1f} complete trials"
        if name != "one split" and len(losses) > 1:
            p = stats.ttest_rel(losses, reference).pvalue
            line += f", {np.mean(losses - reference):+.4f} against one split (p {p:.2g}, paired t)"
        print(line, flush=True)


if __name__ == "__main__":
    main()
