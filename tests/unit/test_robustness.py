"""Scores on corrupted test samples, of every kind of data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.kinds_of_inputs import SIZES, build
from trainables.analysis.held_out import measure_held_out
from trainables.analysis.robustness import MISSING, NOISE, SECONDS, measure_robustness
from trainables.config.robustness import Curve, Robustness


def measure(data: str, network: str = "Flat", **data_options: Any) -> Robustness:
    run, splits = build(data, network, **data_options)
    return measure_robustness(run, splits, run.best_state)


def named(found: Robustness) -> dict[str, Curve]:
    return {curve.corruption: curve for curve in found.curves}


@pytest.mark.parametrize(
    ("data", "network", "options", "kinds"),
    [
        ("rows", "Flat", {}, {"noise", "missing values"}),
        ("frame", "Flat", {}, {"noise", "missing values"}),
        ("numbers", "Flat", {"task": "regression"}, {"noise", "missing values"}),
        ("labels", "Flat", {"task": "multilabel"}, {"noise", "missing values"}),
        ("images", "Flat", {}, {"noise", "blur", "shift"}),
        ("pixels", "Flat", {}, {"noise", "blur", "shift"}),
        ("series", "Flat", {}, {"noise"}),
        ("parts", "Named", {}, {"noise", "blur", "shift", "missing values"}),
        ("lazy", "Flat", {}, {"noise", "missing values"}),
        ("stream", "Flat", {}, {"noise", "missing values"}),
    ],
)
def test_each_kind_of_inputs_has_its_corruptions(
    data: str, network: str, options: dict[str, Any], kinds: set[str]
) -> None:
    found = measure(data, network, **options)
    assert (found.rows, found.reason) == (SIZES["test"], "")
    assert set(named(found)) == kinds
    is_class = data not in ("numbers", "labels")
    metric = "mae" if data == "numbers" else "accuracy"
    wanted = {"loss", metric} | ({"ece"} if is_class else set())
    for curve in found.curves:
        assert curve.levels[0].level == 0
        assert curve.levels[0].scores == found.clean
        assert {frozenset(level.scores) for level in curve.levels} == {frozenset(wanted)}
    noise = [level.scores["loss"] for level in named(found)["noise"].levels]
    assert len(noise) == 1 + len(NOISE)
    assert noise[0] < noise[-1]


def test_the_clean_scores_are_those_of_the_test_samples() -> None:
    run, splits = build("frame")
    found = measure_robustness(run, splits, run.best_state)
    metrics = measure_held_out(run, splits, run.best_state).metrics
    assert found.clean["loss"] == pytest.approx(metrics["test/loss"], rel=1e-5)
    assert found.clean["accuracy"] == pytest.approx(metrics["test/accuracy"])
    assert found == measure_robustness(run, splits, run.best_state)


def test_missing_values_hurt_more_the_more_are_missing() -> None:
    losses = [level.scores["loss"] for level in named(measure("rows"))["missing values"].levels]
    assert len(losses) == 1 + len(MISSING)
    assert losses == sorted(losses)


def test_the_weights_that_are_measured_are_the_given_ones() -> None:
    run, splits = build("rows")
    before = {k: v.clone() for k, v in run.model.state_dict().items()}
    zeros = {k: torch.zeros_like(v) for k, v in before.items()}
    found = measure_robustness(run, splits, zeros)
    assert found.clean["loss"] == pytest.approx(np.log(2), rel=1e-5)
    assert all(torch.equal(v, before[k]) for k, v in run.model.state_dict().items())


def test_ids_have_no_noise_and_say_so() -> None:
    found = measure("ids")
    assert not found.curves
    assert found.clean["loss"] > 0
    assert found.reason == "the inputs have no floats to be corrupted"


def test_an_error_of_the_network_is_the_reason_and_no_error() -> None:
    found = measure("rows", "Fails")
    assert "ValueError: too far" in found.reason


def test_a_measurement_that_takes_too_long_ends_with_the_low_levels_of_every_kind() -> None:
    run, splits = build("rows")
    ticks = iter([0.0, 1.0, 1.0, SECONDS + 1])
    found = measure_robustness(run, splits, run.best_state, clock=lambda: next(ticks))
    assert [len(curve.levels) for curve in found.curves] == [2, 2]
    assert "took more than 30 s" in found.reason


def test_only_some_test_samples_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainables.analysis.robustness.ROWS", 50)
    assert measure("rows").rows == 50
    assert measure("lazy").rows == 50
