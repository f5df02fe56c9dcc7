"""What `penalty: l1` with `lambda: auto` finds, beside scikit-learn's solvers: errors and features.

``python -m tests.benchmarks.lambda_truth [--seeds 10] [--data regression] [--picks simplest]``

``--early-stopping off`` trains every network for all 200 epochs.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LassoCV, LogisticRegressionCV
from sklearn.metrics import f1_score, log_loss
from torch import nn

Array = NDArray[Any]
ROWS, INPUTS, TRUE, TEST, FRESH = 60, 200, 5, 200, 2000
CLASS_ROWS = 300
_MODULE = "tests.benchmarks.lambda_truth"


@dataclass(frozen=True)
class Problem:
    """Known rows, rows to test on, and which inputs have a coefficient."""

    x: Array
    y: Array
    fresh_x: Array
    fresh_y: Array
    test: tuple[Array, Array]
    support: Array


def draw_regression(seed: int) -> Problem:
    """60 rows of 200 inputs, of which five have a coefficient; the target has unit variance."""
    x, signal, support, random = _draw(seed, ROWS)
    y = signal + 0.3 * signal[:ROWS].std() * random.standard_normal(len(x))
    scale = y[:ROWS].std()
    return _divide(x, (y - y[:ROWS].mean()) / scale, support, ROWS)


def draw_classes(seed: int) -> Problem:
    """300 rows of 200 inputs, of which five decide on the class."""
    x, signal, support, random = _draw(seed, CLASS_ROWS)
    y = (signal + random.logistic(size=len(x)) > 0).astype(np.int64)
    return _divide(x, y, support, CLASS_ROWS)


def _draw(seed: int, rows: int) -> tuple[Array, Array, Array, np.random.Generator]:
    random = np.random.default_rng([seed, 17])
    x = random.standard_normal((rows + TEST + FRESH, INPUTS))
    truth = np.zeros(INPUTS)
    truth[random.choice(INPUTS, TRUE, replace=False)] = (3.0, -2.5, 2.0, -2.0, 1.5)
    return x, x @ truth, truth != 0, random


def _divide(x: Array, y: Array, support: Array, rows: int) -> Problem:
    known, test, fresh = np.split(np.arange(len(x)), [rows, rows + TEST])
    return Problem(x[known], y[known], x[fresh], y[fresh], (x[test], y[test]), support)


def build_regression(problem: int, seed: int = 0) -> Any:
    """The data of a spec: rows that ``seed`` divides, anew for each replicate, and test rows."""
    return _build_splits(draw_regression(problem), seed)


def build_classes(problem: int, seed: int = 0) -> Any:
    """As :func:`build_regression`."""
    return _build_splits(draw_classes(problem), seed)


def _build_splits(problem: Problem, seed: int) -> Any:
    cut = len(problem.x) * 4 // 5
    order = np.random.default_rng(seed).permutation(len(problem.x))
    x, y = problem.x[order].astype(np.float32), problem.y[order]
    y = y if y.dtype == np.int64 else y.astype(np.float32)
    test_y = problem.test[1].astype(y.dtype)
    return {
        "train": (x[:cut], y[:cut]),
        "val": (x[cut:], y[cut:]),
        "test": (problem.test[0].astype(np.float32), test_y),
    }


def build_line(outputs: int) -> nn.Module:
    """A linear model."""
    return nn.Linear(INPUTS, outputs)


@dataclass(frozen=True)
class Found:
    """Errors on 2,000 new rows, ours as a multiple of scikit-learn's, and F1 of inputs.

    ``ratio`` is that of the pick as the search trained it, ``refit_ratio`` that of its refit on all
    known rows. ``f1`` is that of the inputs that the pick keeps, ``refit_f1`` that of its refit,
    ``stable_f1`` that of the report's stable columns, which nearly all replicates of the pick keep.
    """

    ratio: float
    refit_ratio: float
    f1: float
    refit_f1: float
    stable_f1: float
    their_f1: float
    lam: float
    verdict: str


def run_regression(seed: int, pick: str, early_stopping: str) -> Found:
    """One sweep on a sparse regression, and LassoCV on the same rows."""
    problem = draw_regression(seed)
    theirs = LassoCV(cv=5, random_state=0).fit(problem.x, problem.y)
    error = float(np.mean((theirs.predict(problem.fresh_x) - problem.fresh_y) ** 2))
    nets, swept = _sweep("build_regression", seed, pick, early_stopping, problem)
    own = [float(np.mean((net.outputs[:, 0] - problem.fresh_y) ** 2)) for net in nets]
    return _judge([o / error for o in own], nets, theirs.coef_, problem.support, swept)


def run_classes(seed: int, pick: str, early_stopping: str) -> Found:
    """One sweep on a sparse classification, and LogisticRegressionCV on the same rows."""
    problem = draw_classes(seed)
    theirs = LogisticRegressionCV(
        Cs=20,
        cv=5,
        l1_ratios=(1,),
        solver="saga",
        scoring="neg_log_loss",
        max_iter=2000,
        use_legacy_attributes=False,
    ).fit(problem.x, problem.y)
    error = log_loss(problem.fresh_y, theirs.predict_proba(problem.fresh_x))
    nets, swept = _sweep("build_classes", seed, pick, early_stopping, problem)
    own = [log_loss(problem.fresh_y, _share(net.outputs)) for net in nets]
    return _judge([o / error for o in own], nets, theirs.coef_, problem.support, swept)


def _share(logits: Array) -> Array:
    shares: Array = np.exp(logits - logits.max(1, keepdims=True))
    probabilities: Array = shares / shares.sum(1, keepdims=True)
    return probabilities


@dataclass(frozen=True)
class Net:
    """A linear network: its outputs on new rows, and its weights."""

    outputs: Array
    weight: Array


def _sweep(
    data: str, seed: int, pick: str, early_stopping: str, problem: Problem
) -> tuple[list[Net], Any]:
    """The pick as the search trained it, its refit, the sweep."""
    import gapsweep
    import torch

    spec = {
        "name": "sparse",
        "trainable": f"{_MODULE}:build_line",
        "data": {"name": "function", "path": f"{_MODULE}:{data}", "args": {"problem": seed}},
        "training": {"max_epochs": 200, "lr": 0.03, "batch_size": 16},
        "space": {"penalty": "l1", "lambda": "auto"},
        "early_stopping": early_stopping,
        "search": {"pruner": "none"},
        "budget": {"trials": 25},
        "confirm": {"pick": pick, "replicates": 6, "trainings": 40, "sensitivity": 0},
        "resources": {"executor": "local"},
    }
    with tempfile.TemporaryDirectory() as home:
        swept = gapsweep.run(spec, home=home, progress=False)
        swept.refit(progress=False)
        nets = []
        for model in (swept.best_model(), swept.refit_model()):
            with torch.no_grad():
                made = model(torch.from_numpy(problem.fresh_x.astype(np.float32)))
            (weight,) = (p.detach().numpy() for p in model.parameters() if p.ndim == 2)
            nets.append(Net(made.double().numpy(), weight))
    return nets, swept


def _judge(
    ratios: Sequence[float],
    nets: Sequence[Net],
    coefficients: Array,
    support: Array,
    swept: Any,
) -> Found:
    kept, again = ((net.weight != 0).any(0) for net in nets)
    theirs = (np.atleast_2d(coefficients) != 0).any(0)
    columns = swept.summary.inspection.columns
    stable = np.isin([f"x[:, {i}]" for i in range(len(support))], columns.stable)
    best = swept.best
    return Found(
        ratios[0],
        ratios[1],
        float(f1_score(support, kept)),
        float(f1_score(support, again)),
        float(f1_score(support, stable)),
        float(f1_score(support, theirs)),
        float(best.params.get("lambda", 0.0)) if best else 0.0,
        swept.answer.claim.value if swept.answer else "none",
    )


PICKS = ("best", "simplest")
RUNS = {"regression": run_regression, "classes": run_classes}


def report(
    names: Sequence[str], picks: Sequence[str], seeds: int, early_stopping: str
) -> Iterator[str]:
    """The table, a row for each seed."""
    for name in names:
        run = RUNS[name]
        for pick in picks:
            found = []
            for seed in range(seeds):
                found.append(one := run(seed, pick, early_stopping))
                yield (
                    f"| {name} | {pick} | {seed} | {one.ratio:.2f} | {one.refit_ratio:.2f} | "
                    f"{one.f1:.2f} | {one.refit_f1:.2f} | {one.stable_f1:.2f} | "
                    f"{one.their_f1:.2f} | {one.lam:.3g} | {one.verdict} |"
                )
            errors = ([f.ratio for f in found], [f.refit_ratio for f in found])
            scores = (
                [f.f1 for f in found],
                [f.refit_f1 for f in found],
                [f.stable_f1 for f in found],
            )
            cells = [f"{np.mean(e):.2f} ({max(e):.2f})" for e in errors]
            cells += [f"{np.mean(s):.2f} ({min(s):.2f})" for s in scores]
            yield f"| {name} | {pick} | mean (worst) | {' | '.join(cells)} | | | |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--data", choices=RUNS, nargs="+", default=list(RUNS))
    parser.add_argument("--picks", choices=PICKS, nargs="+", default=list(PICKS))
    parser.add_argument("--early-stopping", choices=("patience", "off"), default="patience")
    os.environ["GAPSWEEP_MLFLOW_URI"] = "off"
    warnings.simplefilter("ignore")
    arguments = parser.parse_args()
    titles = ["data", "pick", "seed", "error, × scikit-learn's", "of the refit", "F1"]
    titles += ["of the refit", "of stable columns", "scikit-learn's F1", "λ", "answer"]
    print("|", " | ".join(titles), "|")
    print("|---" * len(titles), "|", sep="")
    for line in report(arguments.data, arguments.picks, arguments.seeds, arguments.early_stopping):
        print(line, flush=True)
