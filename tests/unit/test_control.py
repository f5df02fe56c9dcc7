"""The baseline's second result: what early stopping alone would have kept."""

from __future__ import annotations

from itertools import starmap
from typing import Any

import numpy as np
import pytest

from tests.specs import parse
from tests.trainings import same_state, splits
from trainables.analysis.held_out import measure_held_out, measure_standard_error
from trainables.build import build_run
from trainables.config.trial_parameters import list_parts, remove_parts, tunes_training
from trainables.data.batch import Batch
from trainables.loop import TrainingRun, train
from trainables.measure import measure

SPEC = parse(
    model={"hidden": [16]},
    training={"max_epochs": 12, "batch_size": 16, "lr": 0.02},
    early_stopping={"patience": 2},
)
NEUTRAL = {"penalty": "none", "dropout": 0.0, "augmentation": "none"}


def build(*, baseline: bool, without: tuple[str, ...] = (), **changes: Any) -> TrainingRun:
    spec = SPEC.model_copy(update=changes)
    return build_run(
        spec, NEUTRAL, splits(60, 30), baseline=baseline, without=without, device="cpu"
    )


def finish(run: TrainingRun) -> TrainingRun:
    for _ in train(run):
        pass
    return run


def test_the_control_is_bit_for_bit_the_training_that_stops_early() -> None:
    baseline, stopped = finish(build(baseline=True)), finish(build(baseline=False))
    assert baseline.epoch == 12
    assert stopped.epoch < 12
    assert baseline.control is not None
    assert same_state(baseline.control.state, stopped.best_state)
    assert baseline.control_metrics() == stopped.best_metrics()
    assert baseline.best_metrics()["epoch"] == 12
    assert not same_state(baseline.best_state, stopped.best_state)


def test_the_baseline_is_judged_at_its_last_epoch() -> None:
    baseline, plain = (
        finish(build(baseline=True)),
        finish(build(baseline=False, early_stopping=None)),
    )
    assert same_state(baseline.best_state, plain.best_state)
    assert baseline.best_metrics() == plain.best_metrics()


def test_without_early_stopping_both_are_one() -> None:
    run = finish(build(baseline=True, early_stopping=None))
    assert run.control is not None
    assert same_state(run.control.state, run.best_state)
    assert run.control_metrics() == run.best_metrics()


def test_a_resumed_training_has_the_same_control() -> None:
    whole = finish(build(baseline=True))
    for cut in (1, 4, 11):
        first = build(baseline=True)
        epochs = train(first)
        for _ in range(cut):
            next(epochs)
        second = build(baseline=True)
        second.load_state_dict(first.state_dict())
        finish(second)
        assert second.control is not None
        assert whole.control is not None
        assert same_state(second.control.state, whole.control.state)
        assert same_state(second.best_state, whole.best_state)


def test_early_stopping_can_be_left_out() -> None:
    run = finish(build(baseline=False, without=("early_stopping",)))
    assert run.epoch == 12
    assert run.control is None


def test_parts_are_found_and_removed() -> None:
    spec = SPEC
    params = {"penalty": "l1", "lambda": 0.1, "dropout": 0.2, "swa": 0.25, "lr": 0.1}
    assert list_parts(spec, params) == ("penalty", "dropout", "averaging", "early_stopping")
    assert remove_parts(params, ["penalty"], {}) == {
        "penalty": "none",
        "dropout": 0.2,
        "swa": 0.25,
        "lr": 0.1,
    }
    assert remove_parts(params, ["dropout", "averaging"], {}) == {
        "penalty": "l1",
        "lambda": 0.1,
        "dropout": 0.0,
        "lr": 0.1,
    }
    assert list_parts(spec, NEUTRAL) == ("early_stopping",)


@pytest.mark.parametrize(
    ("name", "tunes"),
    [("lr", True), ("model.width", True), ("lambda", False), ("l1_update", False)],
)
def test_which_parameters_a_control_tunes(name: str, tunes: bool) -> None:
    assert tunes_training(name) is tunes


def test_held_out_scores_are_those_of_every_sample() -> None:
    run = finish(build(baseline=True))
    data = splits(60, 30)
    found = measure_held_out(run, data, run.best_state)
    whole = measure(run.model, run.trainable, starmap(Batch, run.data.val.batches([slice(None)])))
    assert found.val["loss"].shape == (30,)
    assert found.val["loss"].mean() == pytest.approx(whole["loss"])
    assert run.best_metrics()["val/loss"] == pytest.approx(whole["loss"])
    expected = np.sqrt(found.val["loss"].var(ddof=1) / 30 + found.train["loss"].var(ddof=1) / 30)
    assert found.errors["gap/loss"] == pytest.approx(expected)
    assert measure_standard_error(found.val["loss"], found.val["loss"]) == 0
    before = {k: v.clone() for k, v in run.model.state_dict().items()}
    assert run.control is not None
    measure_held_out(run, data, run.control.state)
    assert same_state(before, dict(run.model.state_dict()))
