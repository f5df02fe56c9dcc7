"""Each regulariser in a whole training: it changes what is learned, and is resumed bit for bit."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import nn

from tests.trainings import EACH, hand_over, name, run, same_state, splits
from trainables.config.data_info import DataInfo, Kind, Task
from trainables.config.regularisers import read_regularisers
from trainables.config.training import Training
from trainables.loop import train
from trainables.regularisers.base import Hooks, Now, Subject
from trainables.run import EpochResult


@cache
def train_without() -> list[EpochResult]:
    return list(train(run(50)))


@pytest.mark.parametrize("options", EACH, ids=name)
def test_it_changes_what_is_learned_and_is_resumed_bit_for_bit(options: dict[str, Any]) -> None:
    whole, first, second = (run(50, **options) for _ in range(3))
    expected = list(train(whole))
    assert train_without() != expected
    hand_over(first, second, 4)
    assert list(train(second)) == expected[4:]
    assert same_state(whole.best_state, second.best_state)


@pytest.mark.parametrize("options", [{"ema": 0.8}, {"swa": 0.5}], ids=name)
def test_averaged_weights_are_what_is_measured_and_restored(options: dict[str, Any]) -> None:
    """The last epoch's metrics are those of the weights handed back, not of the trained ones."""
    trained = run(None, **options)
    *_, last = train(trained)
    again = run(None, training={"max_epochs": 1, "lr": 1e-30})
    again.model.load_state_dict(trained.best_state)
    with torch.no_grad():
        again.model.eval()
        part = splits().val
        logits = again.model(torch.as_tensor(part.x))
        loss = nn.functional.cross_entropy(logits, torch.as_tensor(part.y)).item()
    assert loss == pytest.approx(last.metrics["val/loss"], abs=1e-6)
    plain = run(None)
    list(train(plain))
    assert not same_state(plain.best_state, trained.best_state)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [1, 1, 1, 1]),
        ("warmup", [0.5, 1, 1, 1]),
        ("cosine", [1, 0.853553, 0.5, 0.146447]),
    ],
)
def test_lambda_over_the_epochs(schedule: Any, expected: list[float]) -> None:
    training = Training(max_epochs=4, lambda_schedule=schedule, lambda_warmup_epochs=2)
    factors = [training.lambda_factor(epoch) for epoch in range(1, 5)]
    assert factors == pytest.approx(expected, abs=1e-6)


def test_gradient_noise_has_the_deviation_that_was_asked_for_and_decays() -> None:
    noise = torch.Generator().manual_seed(0)
    layer = nn.Linear(200, 200)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    hooks = Hooks([config.build() for config in read_regularisers({"gradient_noise": 0.1})])
    info = DataInfo((200,), Task.REGRESSION, 200, Kind.TABLE)
    hooks.attach(Subject(info, layer, [], optimizer, Training(optimizer="sgd")))
    for step, deviation in ((0, 0.1), (99, 0.1 / 100**0.275)):
        layer.weight.grad = torch.zeros_like(layer.weight)
        for hook in hooks.before_step:
            hook(Now(lr=torch.zeros(()), lambda_factor=1.0, noise=noise, step=step))
        assert layer.weight.grad.std().item() == pytest.approx(deviation, rel=0.02)


ALL: dict[str, Any] = {
    "penalty": "elastic_net",
    "lambda": 1e-4,
    "max_norm": 0.5,
    "dropout": 0.1,
    "augmentation": "shift",
    "augmentation_strength": 0.1,
    "random_erasing": 0.1,
    "input_noise": 0.05,
    "mixup": 0.2,
    "label_smoothing": 0.05,
    "gradient_noise": 0.01,
    "ema": 0.5,
}
"""One of every kind; of two that mix samples and two that average weights only one may be on."""


@cache
def last_loss_of_all() -> float:
    return last_loss(5, ALL)


def last_loss(max_epochs: int, options: dict[str, Any]) -> float:
    *_, last = train(run(None, training={"max_epochs": max_epochs}, **options))
    return last.metrics["val/loss"]


def test_all_of_them_at_once_still_learn() -> None:
    assert last_loss(100, ALL) < 0.5  # two classes by chance: 0.69


@pytest.mark.parametrize("left_out", sorted(ALL.keys() - {"lambda", "augmentation_strength"}))
def test_beside_all_the_others_each_of_them_still_acts(left_out: str) -> None:
    assert last_loss(5, {k: v for k, v in ALL.items() if k != left_out}) != last_loss_of_all()
