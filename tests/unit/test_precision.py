"""What products are computed in, and compiled networks that serve every trial."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters

from tests.unit.test_process import splits
from trainables.build import build_training
from trainables.config.regularisers import regularisers_of
from trainables.config.training import Training
from trainables.devices import set_precision, this_machine
from trainables.loop import train
from trainables.models import CNN

TRIALS: list[dict[str, Any]] = [
    {},
    {"penalty": "l1", "lambda": 0.01},
    {"penalty": "elastic_net", "lambda": 0.1, "l1_ratio": 0.3, "dropout": 0.4},
    {"penalty": "l2", "lambda": 0.1, "dropout": 0.2, "label_smoothing": 0.1},
]


def curve(training: dict[str, Any], regularisation: dict[str, Any]) -> list[dict[str, float]]:
    settings = Training(**{"max_epochs": 3, "batch_size": 16, "lr": 0.02, **training})
    reg = regularisers_of(regularisation)
    run = build_training(CNN([4], 8), splits(60, 30), settings, reg, None)
    return [dict(result.metrics) for result in train(run)]


@pytest.mark.slow
@pytest.mark.skipif(this_machine().compiler is None, reason="no C++ compiler")
def test_a_compiled_network_is_compiled_for_the_first_trial_only() -> None:
    torch._dynamo.reset()
    counters.clear()
    compiled = [curve({"compile": True}, TRIALS[0])]
    graphs = counters["stats"]["unique_graphs"]
    assert graphs > 0
    compiled += [curve({"compile": True, "lr": 0.01 * n}, t) for n, t in enumerate(TRIALS[1:], 1)]
    assert counters["stats"]["unique_graphs"] == graphs
    assert sum(counters["graph_break"].values()) == 0
    for found, expected in zip(compiled[0], curve({}, TRIALS[0]), strict=True):
        assert found == pytest.approx(expected, abs=1e-4)


def test_bf16_learns_what_fp32_learns() -> None:
    exact, rounded = curve({}, {}), curve({"precision": "bf16"}, {})
    assert rounded != exact
    for found, expected in zip(rounded, exact, strict=True):
        assert found["val/loss"] == pytest.approx(expected["val/loss"], rel=0.05)


def test_tf32_is_on_only_while_it_is_asked_for() -> None:
    set_precision("tf32")
    assert torch.get_float32_matmul_precision() == "high"
    set_precision("fp32")
    assert torch.get_float32_matmul_precision() == "highest"
    assert not torch.backends.cudnn.allow_tf32
