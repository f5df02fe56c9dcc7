"""Penalties and sampling in a training loop of the user's own."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from tests.loops import network, own_run
from trainables.loops.trial import Trial


def test_penalties_act_by_the_rate_of_each_group_in_each_step() -> None:
    seen: dict[str, Any] = {}

    def loop(trial: Trial) -> Iterator[Any]:
        model = network()
        assert isinstance(model, nn.Sequential)
        layers = model[1], model[4]
        before = [layer.weight.detach().clone() for layer in layers]
        groups = [
            {"params": layer.parameters(), "lr": lr}
            for layer, lr in zip(layers, (0.01, 0.1), strict=True)
        ]
        optimizer = torch.optim.SGD(groups)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        trial.regularise(model, optimizer)
        for _ in range(3):
            for parameter in model.parameters():
                parameter.grad = torch.zeros_like(parameter)
            optimizer.step()
            schedule.step()
        seen["shrunk"] = [
            float((layer.weight / start).mean())
            for layer, start in zip(layers, before, strict=True)
        ]
        yield trial.evaluate(model)

    list(own_run(loop, penalty="l2", **{"lambda": 1.0}).train())
    expected = [math.prod(1 - 2 * lr * 0.5**n for n in range(3)) for lr in (0.01, 0.1)]
    assert seen["shrunk"] == pytest.approx(expected, rel=1e-5)


def test_batches_of_the_trial_are_balanced_where_that_is_asked_for() -> None:
    shares: dict[str, float] = {}

    def loop(trial: Trial) -> Iterator[Any]:
        loader, _ = trial.data.loaders(20)
        assert len(loader) == 3
        y = torch.cat([y for _ in range(100) for _, y in loader])
        shares[trial.params["sampling"]] = float(y.float().mean())
        yield trial.evaluate(network())

    for sampling in ("shuffled", "balanced"):
        list(own_run(loop, training={"sampling": sampling}, sampling=sampling).train())
    assert abs(shares["shuffled"] - 0.5) > 0.04
    assert shares["balanced"] == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    "options",
    [
        {"penalty": "l2", "lambda": 0.1, "training": {"l2_update": "coupled"}},
        {"penalty": "l1", "lambda": 0.02, "training": {"l1_update": "subgradient"}},
        {"penalty": "l1", "lambda": 0.02},
        {"gradient_noise": 0.1},
    ],
)
def test_a_scaler_leaves_the_strength_of_a_regulariser_as_it_is(options: dict[str, Any]) -> None:
    trained: dict[tuple[bool, bool], torch.Tensor] = {}

    def train_scaled(trial: Trial, *, fused: bool, enabled: bool) -> Iterator[Any]:
        model = network().eval()
        optimizer = torch.optim.SGD(model.parameters(), 0.05, fused=fused)
        parts = trial.regularise(model, optimizer)
        scaler = torch.amp.GradScaler("cpu", enabled=enabled)
        for number, (x, y) in enumerate(trial.data.loaders(16)[0]):
            batch = parts.batch(x, y)
            optimizer.zero_grad()
            loss = parts.loss(model(batch.x), batch)
            if number == 1:
                if not enabled:
                    continue  # as the scaler, which leaves out a step that overflows
                loss = loss * math.inf
            scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            scaler.step(optimizer)
            scaler.update()
        trained[fused, enabled] = nn.utils.parameters_to_vector(model.parameters()).detach()
        yield trial.evaluate(model)

    for fused in (False, True):
        for enabled in (False, True):
            loop = partial(train_scaled, fused=fused, enabled=enabled)
            list(own_run(loop, **options).train())
    for weights in trained.values():
        torch.testing.assert_close(weights, trained[False, False], rtol=0, atol=1e-6)
