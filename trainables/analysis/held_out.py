"""What a finished training scores on its held-out samples, each of them and on average."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import starmap

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.data.batch import Batch
from trainables.data.nests import Nest, count_samples
from trainables.data.placing import place_split
from trainables.data.samples import IndexedSamples, Samples
from trainables.data.splits import Splits
from trainables.errors import locate
from trainables.gap import compute_gaps
from trainables.measure import measure_each
from trainables.run import Run

Rows = Mapping[str, NDArray[np.float64]]
"""Metrics of every sample, each ``(N,)``; one value where a metric has no value per sample."""


@dataclass(frozen=True)
class HeldOut:
    """Scores at one set of weights: on the test, the validation and the measured training samples.

    ``test`` is empty without a test split. The training side is the fixed subset on which every
    epoch's gap is measured.
    """

    test: Rows
    val: Rows
    train: Rows
    better_high: Callable[[str], bool]

    @property
    def metrics(self) -> dict[str, float]:
        """``test/*`` and ``test_gap/*``; empty without a test split."""
        test, train = _average(self.test), _average(self.train)
        return _name_test(test, train, self.better_high)

    @property
    def errors(self) -> dict[str, float]:
        """Standard errors of ``gap/*`` and ``test_gap/*`` by the samples that they are means of."""
        sides = (("gap", self.val), ("test_gap", self.test))
        found = {
            f"{side}/{name}": _combine(rows[name], self.train[name])
            for side, rows in sides
            for name in rows
        }
        return {name: error for name, error in found.items() if error is not None}


def measure_held_out(run: Run, splits: Splits, state: Mapping[str, Tensor]) -> HeldOut:
    """Score a finished training at the weights ``state``; its own weights stay as they are."""
    data = run.data
    with load_weights(run, state):
        test = None if splits.test is None else place_split(splits.test, data.device)
        return HeldOut(
            test={} if test is None else _measure(run, "test", test),
            val=_measure(run, "val", data.val),
            train=_measure(run, "train", data.measured, run.subset),
            better_high=run.trainable.is_better_high,
        )


def measure_test_rows(run: Run, splits: Splits, state: Mapping[str, Tensor]) -> Rows:
    """Score a finished training on the test samples alone; empty without a test split."""
    if splits.test is None:
        return {}
    test = place_split(splits.test, run.data.device)
    with load_weights(run, state):
        return _measure(run, "test", test)


def list_val_inputs(run: Run, rows: int) -> Iterator[Nest]:
    """The inputs of ``rows`` validation samples at most, drawn from all over the split.

    They come in batches of ``training.eval_batch_size``; of a stream they are the first ones.
    """
    val, subset = run.data.val, None
    if isinstance(val, IndexedSamples) and len(val) > rows:
        drawn = torch.randperm(len(val), generator=torch.Generator().manual_seed(0))
        subset = drawn[:rows]
    for x, y in val.read(min(run.training.eval_batch_size, rows), subset=subset):
        yield x
        rows -= count_samples(y)
        if rows <= 0:
            return


def measure_standard_error(
    ours: NDArray[np.float64] | None, theirs: NDArray[np.float64] | None
) -> float | None:
    """The standard error of the mean difference of paired samples; None for fewer than two."""
    if ours is None or theirs is None or len(ours) < 2 or len(ours) != len(theirs):
        return None
    return float((ours - theirs).std(ddof=1) / len(ours) ** 0.5)


def compare_test(run: Run, kept: Mapping[str, float], test: Rows) -> dict[str, float]:
    """``test/*`` and ``test_gap/*`` from metrics of every test sample; ``kept`` has ``train/*``."""
    means = _average(test)
    train = {name: kept[f"train/{name}"] for name in means}
    return _name_test(means, train, run.trainable.is_better_high)


@contextmanager
def load_weights(run: Run, state: Mapping[str, Tensor]) -> Iterator[None]:
    """Give the network the weights ``state`` while the block runs."""
    before = {k: v.clone() for k, v in run.model.state_dict().items()}
    run.model.load_state_dict(state)
    try:
        yield
    finally:
        run.model.load_state_dict(before)


def _measure(run: Run, side: str, samples: Samples, subset: Tensor | None = None) -> Rows:
    batches = starmap(Batch, samples.read(run.training.eval_batch_size, subset=subset))
    with run.autocast(), locate(side):
        return measure_each(run.model, run.trainable, batches)


def _name_test(
    test: Mapping[str, float], train: Mapping[str, float], better_high: Callable[[str], bool]
) -> dict[str, float]:
    gaps = compute_gaps({name: train[name] for name in test}, test, better_high)
    return {
        **{f"test/{name}": value for name, value in test.items()},
        **{f"test_gap/{name}": value for name, value in gaps.items()},
    }


def _average(rows: Rows) -> dict[str, float]:
    return {name: float(values.mean()) for name, values in rows.items()}


def _combine(left: NDArray[np.float64], right: NDArray[np.float64]) -> float | None:
    """The standard error of the difference of two independent means; None without samples."""
    if min(len(left), len(right)) < 2:
        return None
    return float(np.sqrt(left.var(ddof=1) / len(left) + right.var(ddof=1) / len(right)))
