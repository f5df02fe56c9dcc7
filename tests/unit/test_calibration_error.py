"""The expected calibration error, on closed forms and against torchmetrics."""

from __future__ import annotations

import math

import pytest
import torch

from trainables.analysis.calibration_error import find_confidence, measure_calibration_error
from trainables.config.data_info import Task


def measure(outputs: torch.Tensor, targets: torch.Tensor) -> float:
    found = [
        find_confidence(o, t, Task.CLASSIFICATION)
        for o, t in zip(outputs.split(30), targets.split(30), strict=True)
    ]
    return measure_calibration_error([f for f in found if f is not None])


def test_it_is_confidence_minus_accuracy_in_one_bin() -> None:
    logits = torch.tensor([[math.log(9.0), 0.0]]).repeat(10, 1)  # 0.9
    targets = torch.tensor([0] * 6 + [1] * 4)
    assert measure(logits, targets) == pytest.approx(0.3)
    assert measure(logits, torch.tensor([0] * 9 + [1])) == pytest.approx(0.0, abs=1e-7)
    assert measure(logits.softmax(1), targets) == pytest.approx(0.3)


def test_it_agrees_with_torchmetrics() -> None:
    from torchmetrics.classification import MulticlassCalibrationError

    torch.manual_seed(0)
    logits, targets = 3 * torch.randn(500, 4), torch.randint(4, (500,))
    theirs = MulticlassCalibrationError(num_classes=4, n_bins=15)(logits.softmax(1), targets)
    assert measure(logits, targets) == pytest.approx(float(theirs), abs=1e-6)


@pytest.mark.parametrize("shape", [(500, 1), (500,)])
def test_one_logit_is_read_as_two_classes(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    logits, targets = 3 * torch.randn(shape), torch.randint(2, (500,)).float()
    both = torch.stack([torch.zeros(500), logits.flatten()], 1)
    assert measure(logits, targets) == pytest.approx(measure(both, targets.long()), abs=1e-6)


def test_positions_count_one_by_one_and_ignored_ones_do_not() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(60, 3, 5), torch.randint(3, (60, 5))
    flat = measure(logits.movedim(1, -1).flatten(0, 1), targets.flatten())
    assert measure(logits, targets) == pytest.approx(flat, abs=1e-9)
    ignored = targets.clone()
    ignored[:, 2:] = -100
    kept = measure(logits[:, :, :2].movedim(1, -1).flatten(0, 1), targets[:, :2].flatten())
    assert measure(logits, ignored) == pytest.approx(kept, abs=1e-9)


def test_there_is_none_of_a_regression() -> None:
    assert find_confidence(torch.randn(5, 1), torch.randn(5, 1), Task.REGRESSION) is None
    assert find_confidence({}, torch.randn(5, 1), Task.CLASSIFICATION) is None
