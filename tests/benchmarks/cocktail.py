"""Many regularisers searched jointly against each family alone, on three tables, equal epochs.

    python -m tests.benchmarks.cocktail [--seeds 20] [--trials 20]

After Kadra et al. 2021, Well-tuned Simple Nets Excel on Tabular Datasets, who found the joint
search ahead. For every table and seed (of the split, the weights and the search): so many trials
of so many epochs each for every family, the same for all of them at once; the trial with the best
validation loss is read on the test split. Random search, so that no family gains by being easier
to model. Published whatever it says.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np
import optuna
import torch
from scipy import stats
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

from search_spaces.sampling import suggest
from search_spaces.space import SearchSpace
from trainables.analysis.held_out import measure_held_out
from trainables.build import build_training
from trainables.config.data_info import Task
from trainables.config.regularisers import read_regularisers
from trainables.config.splitters import StratifiedSplit
from trainables.config.training import Training
from trainables.data.division import hold_out
from trainables.data.raw import Raw
from trainables.data.rows import DrawnRows
from trainables.data.splits import Splits
from trainables.data.splitters.base import Draw
from trainables.data.splitters.build import build_rule
from trainables.loop import train
from trainables.models import MLP

TABLES = {"breast cancer": load_breast_cancer, "wine": load_wine, "diabetes": load_diabetes}
FAMILIES: Mapping[str, Mapping[str, Any]] = {
    "penalty": {
        "penalty": {"choice": ["none", "l1", "l2", "elastic_net"]},
        "lambda": {
            "float": [1e-5, 1.0],
            "log": True,
            "when": {"penalty": ["l1", "l2", "elastic_net"]},
        },
        "l1_ratio": {"float": [0.05, 0.95], "when": {"penalty": "elastic_net"}},
    },
    "dropout": {"dropout": {"float": [0.0, 0.7]}},
    "augmentation": {
        "augmentation": {"choice": ["none", "noise", "mask"]},
        "augmentation_strength": {
            "float": [0.1, 1.0],
            "when": {"augmentation": ["noise", "mask"]},
        },
    },
    "mixup": {"mixup": {"float": [0.0, 1.0]}},
    "averaging": {"ema": {"choice": [0.0, 0.9, 0.99, 0.999]}},
}
EVERYTHING = "all of them"


def splits(table: str, seed: int) -> Splits:
    """60, 20 and 20 % of a table, by the seed."""
    bunch = TABLES[table]()
    task = Task.REGRESSION if table == "diabetes" else Task.CLASSIFICATION
    raw = Raw(bunch.data, bunch.target.astype(float) if task is Task.REGRESSION else bunch.target)
    splitter = build_rule(StratifiedSplit()).splitter
    stay, held = hold_out(splitter, raw, task, 0.2, Draw(seed))
    return DrawnRows(raw.rows(stay), raw.rows(held), splitter, 0.25, seed, task).divide()


def searched(job: tuple[str, int, str], trials: int, epochs: int) -> float:
    """The test loss of one search's best trial."""
    table, seed, family = job
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    data = splits(table, seed)
    families = FAMILIES.values() if family == EVERYTHING else [FAMILIES[family]]
    space = SearchSpace.model_validate({k: v for f in families for k, v in f.items()})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    base = Training(max_epochs=epochs, batch_size=32, lr=3e-3, seed=seed, measure_every=epochs)
    best, found = float("inf"), float("nan")
    for number in range(trials):
        point = {} if number == 0 else suggest(space, study.ask(), {})
        run = build_training(
            MLP((128, 128)), data, base, read_regularisers({"dropout": 0.0, **point})
        )
        *_, last = train(run)
        if last.metrics["val/loss"] < best:
            best = last.metrics["val/loss"]
            found = measure_held_out(run, data, run.best_state).metrics["test/loss"]
    return found


def main() -> None:
    """A row for every table and family: mean test loss, and the joint search's paired advantage."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    names = [*FAMILIES, EVERYTHING]
    seeds = range(options.seeds)
    work = partial(searched, trials=options.trials, epochs=options.epochs)
    print("table          family        test loss  joint − family  p (paired t)", flush=True)
    with get_context("spawn").Pool(options.processes) as pool:
        for table in TABLES:
            jobs = [(table, seed, name) for name in names for seed in seeds]
            losses = np.reshape(pool.map(work, jobs, chunksize=1), (len(names), -1))
            for name, own in zip(names, losses, strict=True):
                line = f"{table:13s}  {name:12s}  {statistics.mean(own):9.4f}"
                if name != EVERYTHING:
                    p = stats.ttest_rel(losses[-1], own).pvalue
                    line += f"  {float((losses[-1] - own).mean()):+14.4f}  {p:.3f}"
                print(line, flush=True)


if __name__ == "__main__":
    main()
