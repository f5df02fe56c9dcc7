"""Zero units go, the outputs stay."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from trainables.analysis.measure_anatomy import measure_anatomy
from trainables.analysis.pruning import Removed, prune
from trainables.config.data_info import DataInfo, Kind, Task
from trainables.config.training import Selection
from trainables.models import CNN, MLP
from trainables.regularisers.weights import select_penalised

INFO = DataInfo((1, 8, 8), Task.CLASSIFICATION, 3, Kind.IMAGE)


def zero_units(model: nn.Module, name: str, units: list[int]) -> None:
    layer = model.get_submodule(name)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter[units] = 0


def size(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("model", "zeroed"),
    [
        (MLP([8, 6]).build(INFO), {"1": [0, 3], "4": [5]}),
        (CNN([4, 6], 5).build(INFO), {"0": [1], "4": [0, 2], "9": [4]}),
    ],
)
def test_zero_units_are_cut_out_and_nothing_changes(
    model: nn.Module, zeroed: dict[str, list[int]]
) -> None:
    torch.manual_seed(0)
    x = torch.randn(16, 1, 8, 8)
    model.eval()(x)
    for name, units in zeroed.items():
        zero_units(model, name, units)
    before, parameters = model(x), size(model)
    smaller, removed = prune(model, x)
    assert {r.layer: r.removed for r in removed} == {n: len(u) for n, u in zeroed.items()}
    assert size(smaller) < parameters == size(model)
    assert torch.allclose(smaller(x), before, atol=1e-6)


def test_a_layer_that_is_zero_altogether_keeps_one_unit() -> None:
    model = MLP([4]).build(INFO).eval()
    zero_units(model, "1", [0, 1, 2, 3])
    smaller, removed = prune(model, torch.randn(4, 1, 8, 8))
    assert removed == (Removed("1", 3, 4),)
    assert smaller.get_submodule("1").weight.shape == (1, 64)


def test_what_does_not_keep_zeros_is_left_alone() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Sigmoid(), nn.Linear(4, 2))
    zero_units(model, "0", [1])
    assert prune(model, torch.randn(5, 3)) == (model, ())


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.one(x)
        if hidden.sum() > 0:
            hidden = hidden + 1
        return torch.as_tensor(self.two(hidden))


def test_what_cannot_be_followed_is_left_alone() -> None:
    model = Branches()
    zero_units(model, "one", [0])
    assert prune(model, torch.randn(5, 3)) == (model, ())


def test_units_of_a_sequence_are_its_features_not_its_steps() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
    with torch.no_grad():
        model[0].bias[:5] = -100.0
    found = measure_anatomy(model, select_penalised(model, Selection()), [torch.randn(50, 4, 3)])
    assert (found.layers[0].units, found.layers[0].dead) == (8, 5)
    images = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU())
    with torch.no_grad():
        images[0].bias[:2] = -100.0
    found = measure_anatomy(
        images, select_penalised(images, Selection()), [torch.randn(9, 1, 5, 5)]
    )
    assert (found.layers[0].units, found.layers[0].dead) == (6, 2)


def test_anatomy_counts_zeros_dead_units_and_effective_parameters() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        model[0].weight[1] = 0
        model[0].bias[2] = -100.0  # never positive: dead after the ReLU
        model[0].bias[1] = 0
    found = measure_anatomy(
        model, select_penalised(model, Selection()), torch.randn(50, 3).split(20)
    )
    first, last = found.layers
    assert (first.zeros, first.units, first.dead) == (3, 4, 2)
    assert (last.zeros, last.units, last.dead) == (0, 2, 0)
    assert (found.parameters, found.nonzero, found.effective) == (26, 22, 14)
    assert first.sparsity == 0.25
