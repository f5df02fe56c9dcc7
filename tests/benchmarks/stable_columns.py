"""Which columns scikit-learn's L1 solvers find by the rules of the report and of the pick.

``python -m tests.benchmarks.stable_columns [--seeds 10] [--problem classes | regression]``

The problems are those of ``lambda_truth``. First at the C of ``LogisticRegressionCV``, its best one
and the one of the one-standard-error rule: columns that nine tenths of six fits to 80 % of the rows
keep. Then through a search as ours, with scikit-learn's exact solver instead of a training: 25 λ,
at random and near the best so far; the six finalists of ``pick: simplest``, and the pick by one
paired standard error (as ours) or by one of the best finalist's mean. Mean F1 (worst), and the test
error of the pick fitted to all rows as a multiple of the best finalist's.
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

import numpy as np
from sklearn.linear_model import Lasso, LogisticRegression, LogisticRegressionCV
from sklearn.metrics import f1_score, log_loss

from tests.benchmarks.lambda_truth import Array, Problem, draw_classes, draw_regression

_REPLICATES, _COMPARED, _FINALISTS = 6, 5, 6
_STABLE = 0.9
_RULES = ("best", "paired", "unpaired")

Fitted = tuple[Array, Callable[[Array, Array], float]]
"""Which columns are kept, and the error on other rows."""


def fit_classes(lam: float, x: Array, y: Array) -> Fitted:
    """At λ on the mean loss."""
    model = LogisticRegression(l1_ratio=1, solver="liblinear", C=1 / (lam * len(y)), tol=1e-5)
    model.fit(x, y)
    return model.coef_[0] != 0, lambda a, b: float(log_loss(b, model.predict_proba(a)))


def fit_regression(lam: float, x: Array, y: Array) -> Fitted:
    """As :func:`fit_classes`, with half of the mean square."""
    model = Lasso(alpha=lam, max_iter=5000).fit(x, y)
    return model.coef_ != 0, lambda a, b: float(np.mean((model.predict(a) - b) ** 2))


KINDS: dict[str, Any] = {
    "classes": (draw_classes, fit_classes, 0.02 * math.log(2)),
    "regression": (draw_regression, fit_regression, 0.02),
}


@dataclass(frozen=True)
class Tried:
    """A λ of the search: its error on the validation rows, and the share of zeros."""

    error: float
    zeros: float
    lam: float


class Search:
    """A search on one problem, and its finalists."""

    def __init__(self, problem: Problem, fit: Callable[..., Fitted], ignored: float, seed: int):
        self._problem, self._fit, self._ignored, self._seed = problem, fit, ignored, seed
        tried = sorted(self._search(), key=lambda one: one.error)
        front: list[Tried] = []
        for one in tried:
            if not front or one.zeros > front[-1].zeros:
                front.append(one)
        finalists = front[:_FINALISTS]
        runs = {one.lam: [self._train(one.lam, r) for r in range(_REPLICATES)] for one in finalists}
        self._kept = {lam: np.array([kept for kept, _ in run]) for lam, run in runs.items()}
        self._costs = {lam: [e for _, e in run][:_COMPARED] for lam, run in runs.items()}
        self._best = min(runs, key=lambda lam: fmean(self._costs[lam]))

    def judge(self, rule: str) -> tuple[float, float]:
        """F1 of the stable columns of the pick by a rule, and its error as a multiple."""
        within = [lam for lam in self._kept if self._is_as_good(lam, rule)]
        pick = max(within, key=lambda lam: -float(self._kept[lam].mean()))
        stable = self._kept[pick].mean(0) >= _STABLE
        p = self._problem
        errors = [self._fit(lam, p.x, p.y)[1](p.fresh_x, p.fresh_y) for lam in (pick, self._best)]
        return float(f1_score(p.support, stable)), errors[0] / errors[1]

    def _is_as_good(self, lam: float, rule: str) -> bool:
        if rule == "best":
            return lam == self._best
        best = self._costs[self._best]
        more = [ours - theirs for ours, theirs in zip(self._costs[lam], best, strict=True)]
        error = stdev(more if rule == "paired" else best) / math.sqrt(_COMPARED)
        return fmean(more) <= max(error, self._ignored)

    def _search(self) -> Iterator[Tried]:
        x, y = self._problem.x, self._problem.y
        high = float(np.abs(x.T @ (y - y.mean())).max()) / len(y)
        random, best = np.random.default_rng(self._seed), Tried(math.inf, 0.0, high)
        for number in range(25):
            near = best.lam * math.exp(random.normal(0, 0.5))
            lam = high * 1000 ** -random.random() if number < 10 else near
            kept, error = self._train(min(high, max(high / 1000, lam)), 0)
            one = Tried(error, 1 - float(kept.mean()), lam)
            best = min(best, one, key=lambda t: t.error)
            yield one

    def _train(self, lam: float, replicate: int) -> tuple[Array, float]:
        x, y = self._problem.x, self._problem.y
        order = np.random.default_rng([self._seed, replicate]).permutation(len(y))
        here, there = np.split(order, [len(y) * 4 // 5])
        kept, measure = self._fit(lam, x[here], y[here])
        return kept, measure(x[there], y[there])


def measure_cv(problem: Problem, seed: int) -> tuple[float, float]:
    """F1 of stable columns at LogisticRegressionCV's best C, and by one standard error."""
    grid = np.geomspace(1e-2, 1, 15)
    model = LogisticRegressionCV(
        Cs=grid,
        cv=5,
        l1_ratios=(1,),
        solver="liblinear",
        scoring="neg_log_loss",
        use_legacy_attributes=False,
    ).fit(problem.x, problem.y)
    scores = np.asarray(model.scores_).reshape(5, len(grid))
    means, errors = scores.mean(0), scores.std(0, ddof=1) / math.sqrt(5)
    best = int(means.argmax())
    simple = int(np.flatnonzero(means >= means[best] - errors[best])[0])
    rows = len(problem.y)
    found = []
    for place in (best, simple):
        kept = []
        for replicate in range(_REPLICATES):
            order = np.random.default_rng([seed, replicate]).permutation(rows)[: rows * 4 // 5]
            lam = 1 / (grid[place] * len(order))
            kept.append(fit_classes(lam, problem.x[order], problem.y[order])[0])
        found.append(float(f1_score(problem.support, np.mean(kept, 0) >= _STABLE)))
    return found[0], found[1]


def _write(name: str, f1: Sequence[float], ratios: Sequence[float] = ()) -> str:
    error = f"; error {fmean(ratios):.2f} × ({max(ratios):.2f})" if ratios else ""
    first = f"; first four {fmean(f1[:4]):.2f}" if len(f1) > 4 else ""
    return f"{name}: F1 {fmean(f1):.2f} ({min(f1):.2f}){first}{error}"


def main() -> None:
    """All of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--problem", choices=[*KINDS], default="classes")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    draw, fit, ignored = KINDS[options.problem]
    problems = [draw(seed) for seed in range(options.seeds)]
    if options.problem == "classes":
        both = [measure_cv(problem, seed) for seed, problem in enumerate(problems)]
        for place, name in enumerate(("CV, best C", "CV, one standard error")):
            print(_write(name, [f1[place] for f1 in both]), flush=True)
    searches = [Search(problem, fit, ignored, seed) for seed, problem in enumerate(problems)]
    for rule in _RULES:
        judged = [search.judge(rule) for search in searches]
        print(_write(rule, [f for f, _ in judged], [e for _, e in judged]), flush=True)


if __name__ == "__main__":
    main()
