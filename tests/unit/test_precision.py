"""What products are computed in."""

from __future__ import annotations

import pytest
import torch

from tests.trainings import curve
from trainables.devices import set_precision


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
