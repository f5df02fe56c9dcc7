"""The data of the recorded sweeps: tables of scikit-learn, clothes, and a sparse regression."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.datasets import load_diabetes, load_wine

from trainables.config.data import FASHION_MNIST
from trainables.data.sources import read_idx

Parts = dict[str, tuple[Any, Any]]


def load_wines() -> Parts:
    """178 wines, 13 features, three classes."""
    return _divide(*load_wine(return_X_y=True))


def load_patients() -> Parts:
    """442 patients, 10 features, the progress of their diabetes."""
    x, y = load_diabetes(return_X_y=True)
    return _divide(x, (y - y.mean()) / y.std())


def draw_sparse(seed: int = 0) -> Parts:
    """400 rows, 60 features, of which six act on the target, and as much noise as signal."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((400, 60))
    signal = x[:, :6] @ random.choice([-1.0, 1.0], 6)
    return _divide(x, (signal + random.standard_normal(400) * signal.std()) / signal.std())


def load_clothes(rows: int = 6_000) -> Parts:
    """The first so many images of Fashion-MNIST, without its test images."""
    images, _ = read_idx(FASHION_MNIST)
    x = np.asarray(images.x)[:rows, None].astype(np.float32) / 127.5 - 1
    y = np.asarray(images.y)[:rows].astype(np.int64)
    cut = rows * 3 // 4
    return {"train": (x[:cut], y[:cut]), "val": (x[cut:], y[cut:])}


def _divide(x: Any, y: Any) -> Parts:
    """Standardised inputs, in an order of their own, three quarters of them to train on."""
    order = np.random.default_rng(0).permutation(len(x))
    x = ((x - x.mean(0)) / x.std(0)).astype(np.float32)[order]
    y = y[order] if y.dtype.kind == "i" else y.astype(np.float32)[order]
    cut = len(x) * 3 // 4
    return {"train": (x[:cut], y[:cut]), "val": (x[cut:], y[cut:])}
