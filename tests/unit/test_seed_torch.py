"""Seeding torch is seeding torch, without its way through devices that are not in use."""

from __future__ import annotations

import torch

from trainables.compat import seed_torch


def test_the_draws_are_those_of_torchs_own_function() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2**62 + 3)
        expected = torch.rand(4)
        seed_torch(2**62 + 3)
        assert torch.equal(torch.rand(4), expected)
