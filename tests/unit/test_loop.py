"""A whole training in a second."""

from __future__ import annotations

from typing import Any

import pytest

from tests.trainings import hand_over, run, same_state
from trainables.errors import DivergedError
from trainables.loop import train


def test_same_seed_gives_the_same_metrics() -> None:
    assert list(train(run(dropout=0.3))) == list(train(run(dropout=0.3)))
    assert list(train(run(dropout=0.3))) != list(train(run(dropout=0.3, training={"seed": 1})))


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_resumed_training_goes_on_bit_for_bit(after: int) -> None:
    options: dict[str, Any] = {"dropout": 0.3, "penalty": "elastic_net", "lambda": 0.01}
    whole, first, second = (run(50, **options) for _ in range(3))
    expected = list(train(whole))
    hand_over(first, second, after)
    assert list(train(second)) == expected[after:]
    assert same_state(whole.model.state_dict(), second.model.state_dict())
    assert whole.best_metrics() == second.best_metrics()


def test_the_best_epochs_weights_are_restored() -> None:
    training = run(2, {"max_epochs": 30, "lr": 0.3})
    seen = {}
    for result in train(training):
        if not result.done:
            seen[result.epoch] = {k: v.clone() for k, v in training.model.state_dict().items()}
    best = int(training.best_metrics()["epoch"])
    assert best < training.epoch < 30
    assert same_state(training.model.state_dict(), seen[best])


def test_without_early_stopping_the_last_weights_are_the_result() -> None:
    training = run(None)
    assert [r.done for r in train(training)] == [False] * 5 + [True]
    assert training.best_metrics()["epoch"] == 6


def test_proximal_l1_gives_exact_zeros_and_l2_does_not() -> None:
    l1, l2 = (run(None, penalty=p, **{"lambda": 0.5}) for p in ("l1", "l2"))
    assert list(train(l1))[-1].metrics["sparsity"] > 0.1
    assert list(train(l2))[-1].metrics["sparsity"] == 0.0


def test_a_diverging_training_says_so() -> None:
    coupled = {"lr": 1e6, "optimizer": "sgd", "l2_update": "coupled", "max_epochs": 9}
    with pytest.raises(DivergedError, match="epoch"):
        list(train(run(None, coupled, penalty="l2", **{"lambda": 1.0})))
