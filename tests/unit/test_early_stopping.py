"""Early stopping's edge cases."""

from __future__ import annotations

import math

import pytest

from tests.trainings import splits
from trainables.build import build_training
from trainables.config.stopping import Patience, Verdict
from trainables.config.training import Training
from trainables.loop import train
from trainables.models import MLP
from trainables.regularisers.early_stopping import EarlyStopping

B, W, S = Verdict.IMPROVED, Verdict.WAIT, Verdict.STOP


def verdicts(values: list[float], **spec: object) -> list[Verdict]:
    watch = EarlyStopping(Patience.model_validate(spec))
    return [watch.update(epoch, value) for epoch, value in enumerate(values, 1)]


@pytest.mark.parametrize(
    ("values", "spec", "expected"),
    [
        ([3, 2, 2, 2], {"patience": 2}, [B, B, W, S]),
        ([3, 3], {"patience": 1}, [B, S]),
        ([3, 3], {"patience": 0}, [B, S]),
        ([3.0, 2.5, 2.4], {"patience": 3, "min_delta": 0.5}, [B, W, B]),
        ([1, 2, 1], {"patience": 3, "mode": "max"}, [B, B, W]),
        ([math.nan, 5, math.nan], {"patience": 2}, [W, B, W]),
        ([3, 4, 2, 4, 4], {"patience": 2}, [B, W, B, W, S]),
        ([9, 9, 9, 9], {"patience": 1, "warmup": 3}, [B, W, W, S]),
        ([100, 95, 89], {"patience": 3, "min_delta": 0.1, "min_delta_mode": "relative"}, [B, W, B]),
    ],
)
def test_verdict_of_each_epoch(
    values: list[float], spec: dict[str, object], expected: list[Verdict]
) -> None:
    assert verdicts(values, **spec) == expected


def with_gaps(pairs: list[tuple[float, float | None]], **spec: object) -> list[Verdict]:
    watch = EarlyStopping(Patience.model_validate({"patience": 10, **spec}))
    return [watch.update(epoch, value, gap) for epoch, (value, gap) in enumerate(pairs, 1)]


def test_a_gap_that_grows_while_nothing_improves_stops() -> None:
    pairs = [(1.0, 0.1), (1.1, 0.2), (1.1, 0.3)]
    assert with_gaps(pairs, gap_patience=2) == [B, W, S]
    assert with_gaps(pairs) == [B, W, W]


def test_an_improvement_or_a_smaller_gap_begins_the_count_anew() -> None:
    improving = [(1.0, 0.1), (1.1, 0.2), (0.9, 0.3), (1.0, 0.4)]
    assert with_gaps(improving, gap_patience=2) == [B, W, B, W]
    smaller = [(1.0, 0.1), (1.1, 0.2), (1.1, 0.15), (1.1, 0.3), (1.1, None), (1.1, 0.4)]
    assert with_gaps(smaller, gap_patience=2) == [B, W, W, W, W, S]


def test_a_resumed_watch_stops_where_an_uninterrupted_one_does() -> None:
    spec = Patience(patience=2)
    first, second = EarlyStopping(spec), EarlyStopping(spec)
    assert [first.update(1, 1.0), first.update(2, 2.0)] == [B, W]
    second.load_state_dict(first.state_dict())
    assert second.update(3, 2.0) is S
    assert second.best_epoch == 1


@pytest.mark.parametrize(("max_epochs", "patience"), [(3, 6), (60, 6), (200, 20)])
def test_a_longer_training_waits_for_more_epochs_by_default(max_epochs: int, patience: int) -> None:
    assert Patience().settle(max_epochs).patience == patience
    assert Patience(patience=2).settle(max_epochs).patience == 2


def test_a_training_waits_as_long_as_its_epochs_say() -> None:
    training = Training(max_epochs=100, lr=1e-12)
    run = build_training(MLP([4]), splits(), training, (), Patience(min_delta=1.0))
    assert [result.epoch for result in train(run)][-1] == 1 + 10
