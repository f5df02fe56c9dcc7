"""λ in scikit-learn's terms: the rows that a test runs, and the table that says so.

``make keys`` writes the table. Our losses are means over samples, which is where ``n`` is from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import ElasticNet, Lasso, LogisticRegression, Ridge

README = Path(__file__).parents[1] / "trainables" / "regularisers" / "README.md"
START, END = "<!-- λ in scikit-learn's terms: `make keys` -->\n", "<!-- end -->\n"
N, P = 120, 12
TRUE = np.array([2.0, -3.0, 1.5, 0.5, *[0.0] * (P - 4)])
ALPHA, RATIO, RIDGE, C = 0.3, 0.5, 30.0, 0.5

Samples = tuple[NDArray[np.float32], NDArray[Any]]


def draw_inputs() -> NDArray[np.float32]:
    """Inputs ``(N, P)``."""
    return np.random.default_rng(0).standard_normal((N, P)).astype(np.float32)


def draw_regression() -> Samples:
    """A linear function of the inputs, and noise."""
    x, noise = draw_inputs(), np.random.default_rng(1).standard_normal(N)
    return x, (x @ TRUE + 0.5 * noise + 0.7).astype(np.float32)


def draw_classes() -> Samples:
    """Two classes by a linear function of the inputs, and noise."""
    x, noise = draw_inputs(), np.random.default_rng(1).logistic(size=N)
    return x, (x @ TRUE + noise > 0).astype(np.int64)


@dataclass(frozen=True)
class Row:
    """A model of scikit-learn, and what is the same here.

    ``lam`` is λ in words, ``point`` the parameters of a trial, ``training`` the options of the
    training; ``lr`` scales learning rates and ``epochs`` the number of epochs, see :class:`Column`.
    """

    name: str
    lam: str
    penalty: str
    oracle: Any
    draw: Callable[[], Samples]
    point: Mapping[str, Any]
    training: Mapping[str, Any]
    lr: float = 1.0
    epochs: int = 1


_L1, _L2 = 2 * ALPHA * RATIO, ALPHA * (1 - RATIO)
_COUPLED = {"l2_update": "coupled"}
_LOGISTIC: Mapping[str, Any] = {"C": C, "tol": 1e-8, "max_iter": 20000, "random_state": 0}
ROWS = (
    Row(
        *("`Lasso(alpha)`", "2·alpha", "`l1`"),
        Lasso(alpha=ALPHA, tol=1e-10, max_iter=100000),
        *(draw_regression, {"penalty": "l1", "lambda": 2 * ALPHA}, {}),
    ),
    Row(
        *("`ElasticNet(alpha, l1_ratio=r)`", "alpha·(1 + r), `l1_ratio` 2r/(1 + r)"),
        "`elastic_net`",
        ElasticNet(alpha=ALPHA, l1_ratio=RATIO, tol=1e-10, max_iter=100000),
        draw_regression,
        {"penalty": "elastic_net", "lambda": _L1 + _L2, "l1_ratio": _L1 / (_L1 + _L2)},
        {},
    ),
    Row(
        *("`Ridge(alpha)`", "alpha/n", "`l2`, `l2_update: coupled`"),
        Ridge(alpha=RIDGE, tol=1e-12),
        *(draw_regression, {"penalty": "l2", "lambda": RIDGE / N}, _COUPLED),
    ),
    Row(
        *("`LogisticRegression(C)`, L1", "1/(n·C)", "`l1`"),
        LogisticRegression(l1_ratio=1, solver="saga", **_LOGISTIC),
        *(draw_classes, {"penalty": "l1", "lambda": 1 / (N * C)}, {}, 10.0, 2),
    ),
    Row(
        *("`LogisticRegression(C)`, L2", "1/(2·n·C)", "`l2`, `l2_update: coupled`"),
        LogisticRegression(l1_ratio=0, **_LOGISTIC),
        *(draw_classes, {"penalty": "l2", "lambda": 1 / (2 * N * C)}, _COUPLED, 10.0),
    ),
)


@dataclass(frozen=True)
class Column:
    """An optimiser; ``faster`` scales its learning rate and its epochs with those of a row."""

    name: str
    lr: float
    training: Mapping[str, Any]
    faster: bool = False


COLUMNS = (
    Column("`sgd`, momentum 0", 0.1, {"optimizer": "sgd", "momentum": 0.0}, faster=True),
    Column("`sgd`, momentum 0.9", 0.01, {"optimizer": "sgd", "momentum": 0.9}, faster=True),
    Column("`adam`", 0.1, {"optimizer": "adam"}),
    Column("`adamw`", 0.1, {"optimizer": "adamw"}),
)


@dataclass(frozen=True)
class Batches:
    """How samples are fed, and how far coefficients may be from scikit-learn's."""

    name: str
    size: int
    epochs: int
    tolerance: float


BATCHES = (Batches("all samples", N, 300, 1e-3), Batches("30 of 120 samples", 30, 60, 1e-2))


def render() -> str:
    """The table, as Markdown."""
    allowed = " / ".join(f"{b.tolerance:g}" for b in BATCHES)
    batches = " / ".join(b.name for b in BATCHES)
    lines = [
        f"| scikit-learn, n samples | λ here | `penalty` | {' | '.join(c.name for c in COLUMNS)} |",
        "|---" * (3 + len(COLUMNS)) + "|",
        *(f"| {r.name} | {r.lam} | {r.penalty} |" + f" {allowed} |" * len(COLUMNS) for r in ROWS),
        "",
        "The numbers are the largest difference of a coefficient that the tests allow, with",
        f"batches of {batches}. With all samples the same coefficients are exactly 0.",
        "",
    ]
    return "\n".join(lines)


def replace_table(text: str) -> str:
    """A README with the table between its marks."""
    before, rest = text.split(START)
    return f"{before}{START}\n{render()}{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    README.write_text(replace_table(README.read_text("utf-8")), encoding="utf-8")
