"""What it costs to carry λ to other batch sizes and numbers of epochs, in units of a seed's spread.

``python -m tests.benchmarks.lambda_carried [--data digits breast_cancer …] [--seeds 3]``

λ is chosen at batches of 64 on a grid, then kept at batches of 16 and 256, and with half and twice
the epochs. The cost is val/loss there at the kept value above that at the grid's best value there.
Three units of λ: the spec's number with the updates of today, the spec's number with the updates
of before (``proximal_step: lr``, and decay by the learning rate), and λ as a multiple of the low
end of the range that ``lambda: auto`` computes for the setting.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
from sklearn.datasets import load_diabetes, load_wine

from service.run.ranges import compute_ranges
from service.spec.file import load_spec, parse_spec
from service.spec.model import SweepSpec
from trainables.build import build_run
from trainables.data.datasets import open_rows
from trainables.data.splits import Split, Splits
from trainables.loop import train

_MODULE = "tests.benchmarks.lambda_carried"
_SWEEPS = Path(__file__).parents[2] / "search_spaces" / "sweeps"
_STEPS = 9
_BEFORE = {"proximal_step": "lr"}


def load_wines() -> Any:
    """178 wines, 13 features, three classes."""
    return _shuffle(*load_wine(return_X_y=True))


def load_patients() -> Any:
    """442 patients, 10 features, a regression."""
    x, y = load_diabetes(return_X_y=True)
    return _shuffle(x, (y - y.mean()) / y.std())


def _shuffle(x: Any, y: Any) -> Any:
    order = np.random.default_rng(0).permutation(len(x))
    x = ((x - x.mean(0)) / x.std(0)).astype(np.float32)[order]
    y = y[order] if y.dtype.kind == "i" else y.astype(np.float32)[order]
    cut = len(x) * 3 // 4
    return {"train": (x[:cut], y[:cut]), "val": (x[cut:], y[cut:])}


_TABLES: Mapping[str, Any] = {"wine": "load_wines", "diabetes": "load_patients"}
NAMES = ("digits", "breast_cancer", "fashion", *_TABLES)


@dataclass(frozen=True)
class Setting:
    """A batch size, and a factor on the number of epochs."""

    batch_size: int = 64
    longer: float = 1.0


REFERENCE = Setting()
OTHERS = (Setting(16), Setting(256), Setting(64, 0.5), Setting(64, 2.0))


class Bench:
    """One data set with its network."""

    def __init__(self, name: str, penalty: str, seeds: int) -> None:
        self._name, self._penalty, self._seeds = name, penalty, seeds
        self._spec = _load(name, penalty)

    @cached_property
    def _splits(self) -> Splits:
        return open_rows(self._spec.data).divide()

    def measure_carried(self) -> Iterator[tuple[Setting, list[float], float]]:
        """Of each other setting: the costs in each unit, and the spread of a seed's val/loss."""
        units: tuple[tuple[Mapping[str, Any], bool], ...] = (
            ({}, False),
            (_BEFORE, False),
            ({}, True),
        )
        kept = [self._find_best(REFERENCE, *unit)[0] for unit in units]
        for setting in OTHERS:
            costs, spread = [], 0.0
            for unit, place in zip(units, kept, strict=True):
                best, losses = self._find_best(setting, *unit)
                costs.append(fmean(losses[place]) - fmean(losses[best]))
                spread = spread or stdev(losses[best])
            yield setting, costs, spread

    def _find_best(
        self, setting: Setting, updates: Mapping[str, Any], relative: bool
    ) -> tuple[int, list[list[float]]]:
        """The place of the best λ on the grid, and val/loss by place and seed."""
        at = setting if relative else REFERENCE
        low, high = self._measure_range(at, bool(updates))
        grid = np.geomspace(low, high, _STEPS)
        losses = [
            [self._train(setting, updates, float(lam), seed) for seed in range(self._seeds)]
            for lam in grid
        ]
        return int(np.argmin([fmean(one) for one in losses])), losses

    @lru_cache(maxsize=64)  # noqa: B019  # a bench lives as long as the program
    def _measure_range(self, setting: Setting, before: bool) -> tuple[float, float]:
        spec = self._change(setting, _BEFORE if before else {})
        rows = self._splits.train
        assert isinstance(rows, Split)
        steps = -(-len(rows) // setting.batch_size)
        (dimension,) = compute_ranges(spec, self._splits, steps).space.list_dimensions("lambda")
        low, high = dimension.plain.extremes()
        assert isinstance(low, float)
        assert isinstance(high, float)
        return low, high

    def _change(self, setting: Setting, updates: Mapping[str, Any]) -> SweepSpec:
        epochs = round(self._spec.training.max_epochs * setting.longer)
        changes = {"max_epochs": epochs, "batch_size": setting.batch_size, **updates}
        training = self._spec.training.model_copy(update=changes)
        return self._spec.model_copy(update={"training": training})

    def _train(self, setting: Setting, updates: Mapping[str, Any], lam: float, seed: int) -> float:
        spec = self._change(setting, updates)
        point = {**spec.neutral_point(), "penalty": self._penalty, "lambda": lam}
        run = build_run(spec, point, self._splits, baseline=False, device="cpu", seed=seed)
        *_, last = train(run)
        return run.best_metrics().get("val/loss", last.metrics["val/loss"])


def _load(name: str, penalty: str) -> SweepSpec:
    space = {"penalty": penalty, "lambda": "auto"}
    if name in _TABLES:
        raw = {
            "name": name,
            "trainable": "trainables.models:MLP",
            "model": {"hidden": [64, 64]},
            "data": {"name": "function", "path": f"{_MODULE}:{_TABLES[name]}"},
            "training": {"max_epochs": 40},
            "confirm": "off",
            "space": space,
        }
        return parse_spec(raw, name, Path())
    spec = load_spec(_SWEEPS / f"{name}.yaml")
    parsed = parse_spec(
        {"name": name, "trainable": spec.trainable, "data": "digits", "space": space}, name, Path()
    )
    return spec.model_copy(update={"space": parsed.space})


def report(names: Sequence[str], seeds: int) -> Iterator[str]:
    """The table: a row for each setting."""
    for name in names:
        for penalty in ("l1", "l2"):
            for setting, costs, spread in Bench(name, penalty, seeds).measure_carried():
                shown = " | ".join(f"{cost / spread:.2f}" if spread else "–" for cost in costs)
                epochs = f"{setting.longer:g} × epochs"
                yield f"| {name} | {penalty} | {setting.batch_size}, {epochs} | {shown} |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", choices=NAMES, nargs="+", default=list(NAMES))
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print(
        "| data | penalty | batch size, epochs | λ | λ before | multiple of the range's low end |"
    )
    print("|---|---|---|---|---|---|")
    for line in report(arguments.data, arguments.seeds):
        print(line, flush=True)
