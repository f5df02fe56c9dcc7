"""The ranges of λ that a sweep samples, computed from its data and its network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import Lasso
from sklearn.svm import l1_min_c
from torch import nn

from search_spaces.kinds import Auto, Float
from service.base.errors import SpecError
from service.run.preflight import run_preflight
from service.run.ranges import Ranges, compute_ranges
from tests.specs import parse

ALL = ["l1", "l2", "elastic_net", "group_lasso"]
RNG = np.random.default_rng(3)
X = RNG.standard_normal((90, 7)).astype(np.float32) * np.arange(1, 8, dtype=np.float32)
Y = (X @ np.arange(7) + RNG.standard_normal(90) + 5).astype(np.float32)


def rows() -> Any:
    """Training and validation samples."""
    return (X[:60], Y[:60]), (X[60:], Y[60:])


def build_line(outputs: int, inputs: int = 30) -> nn.Module:
    return nn.Linear(inputs, outputs)


def measure(penalties: list[str], lam: Any = "auto", **changes: Any) -> Ranges:
    space = {"penalty": {"choice": ["none", *penalties]}, "lambda": lam}
    if "elastic_net" in penalties:
        space["l1_ratio"] = {"float": [0.1, 0.9], "when": {"penalty": "elastic_net"}}
    space |= changes.pop("space", {})
    spec = parse(space=space, **{"training": {"max_epochs": 3}, **changes})
    found = run_preflight(spec, "spec.yaml").ranges
    assert found is not None
    return found


def get_ends(found: Ranges) -> dict[str, tuple[float, float]]:
    ends = {}
    for dimension in found.space.list_dimensions("lambda"):
        assert isinstance(dimension.plain, Float)
        ends[dimension.stored] = dimension.plain.low, dimension.plain.high
    return ends


def test_every_penalty_has_a_parameter_and_a_range_of_its_own() -> None:
    found = measure(ALL)
    ends = get_ends(found)
    assert list(ends) == [f"lambda[penalty={penalty}]" for penalty in ALL]
    assert len(set(ends.values())) == 4
    assert ends["lambda[penalty=elastic_net]"][1] == pytest.approx(
        2 * ends["lambda[penalty=l1]"][1], rel=0.1
    )
    assert [note.partition(":")[0] for note in found.notes] == ALL
    assert not found.warnings


def test_every_update_that_the_space_varies_has_a_range_of_its_own() -> None:
    updates = {"l2_update": {"choice": ["decoupled", "coupled"]}}
    decoupled, coupled = get_ends(measure(["l2"], space=updates)).values()
    assert decoupled[0] > 100 * coupled[0]


def linear(data: Any, **changes: Any) -> Ranges:
    return measure(["l1"], trainable=f"{__name__}:build_line", data=data, confirm="off", **changes)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_the_high_end_of_a_linear_model_is_the_lassos(optimizer: str) -> None:
    data = {"name": "function", "path": f"{__name__}:rows"}
    training = {"max_epochs": 2, "optimizer": optimizer, "lr": 1e-3}
    spec = parse(
        space={"penalty": {"choice": ["none", "l1"]}, "lambda": "auto"},
        trainable=f"{__name__}:build_line",
        model={"inputs": 7},
        data=data,
        training=training,
        confirm="off",
    )
    preflight = run_preflight(spec, "spec.yaml")
    assert preflight.ranges is not None
    ((low, high),) = get_ends(preflight.ranges).values()
    assert high == pytest.approx(1000 * low, rel=0.1)
    train = preflight.splits.train
    x, y = train.x.astype(np.float64), train.y.astype(np.float64).ravel()
    for factor, zero in ((1.06, True), (0.94, False)):
        assert (not Lasso(alpha=factor * high / 2).fit(x, y).coef_.any()) == zero
    assert "all coefficients are 0" in preflight.ranges.notes[0]


def test_the_high_end_of_a_logistic_model_is_that_of_scikit_learn() -> None:
    found = linear("breast_cancer")
    ((_, high),) = get_ends(found).values()
    spec = parse(
        trainable=f"{__name__}:build_line",
        data="breast_cancer",
        space={"penalty": {"choice": ["none", "l1"]}, "lambda": "auto"},
    )
    train = run_preflight(spec, "spec.yaml").splits.train
    # its penalty is of one weight vector, ours of the two of a softmax, which have half of it each
    least = l1_min_c(train.x.astype(np.float64), train.y, loss="log")
    assert high == pytest.approx(1 / (len(train.y) * least), rel=0.06)
    assert load_breast_cancer().data.shape[1] == train.x.shape[1]


def test_a_range_that_cannot_act_is_named() -> None:
    given = {"float": [1e-9, 1e-6], "log": True, "when": {"penalty": "l2"}}
    (warning,) = measure(["l2"], given).warnings
    assert "lambda of l2 cannot act: at its highest value, 1e-06" in warning
    assert "values from" in warning
    found = measure(["l2"], {**given, "float": [1e-9, 10.0]})
    assert not found.warnings
    assert "of the range shrinks weights by less than 5.0 % over the run" in found.notes[0]


def test_a_penalty_that_acts_on_no_weight_is_named() -> None:
    found = measure(["group_lasso"], trainable=f"{__name__}:build_line", data="breast_cancer")
    (warning,) = found.warnings
    assert "lambda of group_lasso cannot act: the penalty acts on no weight" in warning


def test_ranges_that_are_given_stay() -> None:
    given = [
        {"float": [0.1, 0.2], "when": {"penalty": "l1"}},
        {"auto": True, "when": {"penalty": "l2"}},
    ]
    found = measure(["l1", "l2"], given)
    ends = get_ends(found)
    assert ends["lambda[penalty=l1]"] == (0.1, 0.2)
    assert ends["lambda[penalty=l2]"] != (0.1, 0.2)
    assert len(found.notes) == 2


def test_an_optimizer_whose_step_is_not_known_is_named_once() -> None:
    training = {"max_epochs": 2, "optimizer": {"name": "torch.optim:Adamax"}}
    notes = measure(["l1", "group_lasso"], training=training).notes
    assert sum("the step of Adamax is not known" in note for note in notes) == 1
    assert not any("not known" in note for note in measure(["l1"]).notes)


def test_a_stream_needs_its_number_of_steps() -> None:
    spec = parse(space={"penalty": "l1", "lambda": "auto"})
    splits = run_preflight(spec, "spec.yaml", measure_ranges=False).splits
    with pytest.raises(SpecError, match=r"space\.lambda: .*set training\.steps_per_epoch"):
        compute_ranges(spec, splits, None)


def test_a_space_without_lambda_has_nothing_to_measure() -> None:
    spec = parse()
    splits = run_preflight(spec, "spec.yaml").splits
    assert compute_ranges(spec, splits, 10) == Ranges(spec.space)


@pytest.mark.parametrize("preset", ["penalties", "regularisation", "tables"])
def test_presets_have_automatic_ranges(preset: str) -> None:
    spec = parse(space={"preset": preset}, data="breast_cancer" if preset == "tables" else "digits")
    assert [type(d.plain) for d in spec.space.list_dimensions("lambda")] == [Auto]


def test_a_range_may_begin_at_zero() -> None:
    (note,) = measure(["l2"], {"float": [0.0, 10.0], "when": {"penalty": "l2"}}).notes
    assert note.startswith("l2: λ 0 to 10 halves weights in endlessly many to ")
    (warning,) = measure(["l2"], {"choice": [0.0, 1e-9], "when": {"penalty": "l2"}}).warnings
    assert "cannot act" in warning
