"""A compiled network serves every trial, and computes what it computes uncompiled."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters

from tests.trainings import curve

TRIALS: list[dict[str, Any]] = [
    {},
    {"penalty": "l1", "lambda": 0.01},
    {"penalty": "elastic_net", "lambda": 0.1, "l1_ratio": 0.3, "dropout": 0.4},
    {"penalty": "l2", "lambda": 0.1, "dropout": 0.2, "label_smoothing": 0.1},
]


@pytest.mark.compiler
def test_a_compiled_network_is_compiled_for_the_first_trial_only() -> None:
    torch._dynamo.reset()
    counters.clear()
    compiled = [curve({"compile": True}, TRIALS[0])]
    graphs = counters["stats"]["unique_graphs"]
    assert graphs > 0
    compiled += [curve({"compile": True, "lr": 0.01 * n}, t) for n, t in enumerate(TRIALS[1:], 1)]
    assert counters["stats"]["unique_graphs"] == graphs
    assert sum(counters["graph_break"].values()) == 0
    plain = [curve({}, TRIALS[0]), curve({"lr": 0.01}, TRIALS[1])]  # those that draw nothing
    for found, expected in zip(compiled[:2], plain, strict=True):
        for epoch, same in zip(found, expected, strict=True):
            assert epoch == pytest.approx(same, abs=1e-4)
