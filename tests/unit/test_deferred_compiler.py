"""Steps of torch's optimisers without its compiler."""

from __future__ import annotations

import copy

import torch
from torch import nn

from trainables import compat


def test_a_step_without_it_is_torchs_own() -> None:
    step = torch.optim.Adam.step
    while step.__code__.co_name != "_use_grad":
        step = step.__wrapped__  # type: ignore[attr-defined]  # of functools.wraps
    steps = (step, compat._switch_gradients(step.__wrapped__))  # type: ignore[attr-defined]  # as above
    one = nn.Linear(3, 1)
    models = (one, copy.deepcopy(one))
    for model, take in zip(models, steps, strict=True):
        optimizer = torch.optim.Adam(model.parameters())
        for x in (0.5, 2.0):
            model(torch.full((2, 3), x)).sum().backward()
            take(optimizer)
            assert torch.is_grad_enabled()
    assert all(map(torch.equal, *(list(model.parameters()) for model in models)))
