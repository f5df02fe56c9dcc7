"""Probes say what λ does: trainings at the ends of a computed range do what they should."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from trainables.analysis import lambda_probe
from trainables.analysis.lambda_probe import Prober, Strength
from trainables.build import build_training
from trainables.config.data_info import DataInfo, Kind, Task
from trainables.config.regularisers import read_regularisers
from trainables.config.training import Training
from trainables.data.splits import Split, Splits
from trainables.loading import ModuleTrainable
from trainables.loop import TrainingRun, train
from trainables.regularisers.penalties import Penalty

SAMPLES, INPUTS, CLASSES = 240, 10, 3
BASE: dict[str, Any] = {"max_epochs": 10, "batch_size": 24, "lr": 6e-3}
STEPS = SAMPLES // 24


def draw() -> Splits:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((SAMPLES, INPUTS)).astype(np.float32)
    x[:, 7:] = 0
    part = Split(x, np.abs(x[:, :CLASSES]).argmax(1))
    return Splits(part, part, None, DataInfo((INPUTS,), Task.CLASSIFICATION, CLASSES, Kind.TABLE))


def build_network() -> nn.Module:
    return nn.Sequential(nn.Linear(INPUTS, 32), nn.ReLU(), nn.Linear(32, CLASSES))


def build_linear() -> nn.Module:
    return nn.Linear(INPUTS, CLASSES)


def begin(penalty: str, lam: float, network: Any = build_network, **training: Any) -> TrainingRun:
    values = {**BASE, **training}
    return build_training(
        ModuleTrainable(network, {}),
        draw(),
        Training.model_validate({"measure_every": values["max_epochs"], **values}),
        read_regularisers({"penalty": penalty, "lambda": lam}),
    )


def probe(penalty: str, **training: Any) -> Strength:
    return Prober(STEPS).probe(lambda: begin(penalty, 1.0, **training))


@dataclass(frozen=True)
class Ended:
    """A training's end: its loss, the norm of its weights whose inputs are not always 0."""

    loss: float
    size: float


def finish(penalty: str, lam: float, **training: Any) -> Ended:
    run = begin(penalty, lam, **training)
    *_, last = train(run)
    weights = [w.weight.detach() for w in run.penalised]
    weights[0] = weights[0][:, :7]
    return Ended(last.metrics["train/loss"], float(torch.stack([w.norm() for w in weights]).norm()))


@cache
def finish_free(training: str) -> Ended:
    """The end without a penalty, of options in JSON that several penalties have."""
    return finish("none", 0.0, **json.loads(training))


def measure_constant() -> float:
    counts = np.bincount(draw().train.y)
    shares = counts / counts.sum()
    return float(-(shares * np.log(shares)).sum())


@pytest.mark.parametrize(
    ("penalty", "training"),
    [
        ("l1", {}),
        ("l2", {}),
        ("l2", {"l2_update": "coupled"}),
        ("group_lasso", {}),
        ("l1", {"optimizer": "sgd", "lr": 0.1}),
        ("l2", {"optimizer": "sgd", "lr": 0.1}),
        ("l1", {"optimizer": "sgd", "lr": 0.1, "l1_update": "subgradient"}),
        ("l1", {"batch_size": 240, "max_epochs": 100}),
        ("l1", {"schedule": "one_cycle", "optimizer": "rmsprop"}),
        ("l2", {"schedule": "linear", "warmup_epochs": 2, "precision": "fp16"}),
        ("elastic_net", {}),
        (f"{__name__}:Cubic", {}),
    ],
    ids=str,
)
def test_the_ends_of_a_range_do_next_to_nothing_and_everything(
    penalty: str, training: dict[str, Any]
) -> None:
    if "batch_size" in training:
        found = Prober(1).probe(lambda: begin(penalty, 1.0, **training))
    else:
        found = probe(penalty, **training)
    assert found.high is not None
    assert found.high > 30 * found.low
    free = finish_free(json.dumps(training))
    weak, strong = (finish(penalty, lam, **training) for lam in (found.low, found.high))
    assert 0.8 < weak.size / free.size < 0.995
    assert strong.loss > free.loss + 0.9 * (measure_constant() - free.loss)


class Cubic(Penalty):
    """λ·Σ|w|³."""

    def value(self, weight: Tensor) -> Tensor:
        return weight.abs().pow(3).sum()


@pytest.mark.parametrize(
    "training",
    [
        {},
        {"schedule": "one_cycle"},
        {"schedule": {"name": "step", "step_size": 3}, "warmup_steps": 25},
        {"batch_size": 6, "accumulate": 4},
    ],
    ids=str,
)
def test_a_half_life_is_that_of_decay(training: dict[str, Any]) -> None:
    found = probe("l2", **training)
    lam = 10 * found.low
    run = begin("l2", lam, **training)
    before = float(run.model[0].weight.detach()[:, 7:].norm())
    for _ in train(run):
        pass
    left = float(run.model[0].weight.detach()[:, 7:].norm()) / before
    assert np.log2(1 / left) == pytest.approx(BASE["max_epochs"] / found.half_life(lam), rel=0.02)


def test_a_penalty_without_weights_to_act_on_has_no_pull() -> None:
    assert probe("group_lasso", network=build_linear).pull == 0
    assert probe("l1", network=build_linear).pull > 0


class Growing(Penalty):
    """A term that makes weights grow, until the loss is infinite."""

    def value(self, weight: Tensor) -> Tensor:
        return -weight.square().sum()


def test_a_training_that_diverges_ends_the_range() -> None:
    found = probe(f"{__name__}:Growing", optimizer="sgd", lr=0.1)
    assert found.diverges
    assert found.high is not None
    assert found.low <= found.high < np.inf


def test_a_probe_is_repeated_to_the_last_bit_and_draws_nothing_from_others() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert probe("l1") == probe("l1")
    assert torch.equal(torch.get_rng_state(), before)


def test_the_share_of_zeros_is_that_at_the_value_asked_for() -> None:
    prober, whole = Prober(STEPS), probe("l1")
    some = prober.probe(lambda: begin("l1", 1.0), until=whole.low * 30)
    most = prober.probe(lambda: begin("l1", 1.0), until=whole.high)
    none = prober.probe(lambda: begin("l1", 1.0), until=whole.low / 10)
    assert none.zeros == 0
    assert 0 < (some.zeros or 0) < (most.zeros or 0)
    assert (most.zeros or 0) > 0.8


def test_slow_steps_are_few() -> None:
    def build(sleep: float) -> tuple[Any, list[int]]:
        run, count = begin("l1", 1.0, max_epochs=20, lr=3e-3), [0]
        step = run.trainable.step

        def count_step(*arguments: Any) -> Any:
            count[0] += 1
            clock.advance(sleep)
            return step(*arguments)

        run.trainable.step = count_step
        return run, count

    clock = _Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lambda_probe.time, "monotonic", clock.read)
        slow, steps_of_slow = build(10.0)
        Prober(STEPS).probe(lambda: slow)
        fast, steps_of_fast = build(0.001)
        Prober(STEPS).probe(lambda: fast)
    assert steps_of_slow[0] < 60
    assert steps_of_fast[0] > 150


class _Clock:
    def __init__(self) -> None:
        self._now = 0.0

    def advance(self, seconds: float) -> None:
        self._now += seconds

    def read(self) -> float:
        return self._now
