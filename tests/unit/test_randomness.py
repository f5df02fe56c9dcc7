"""What still draws random numbers in a network without regularisation is found by behaviour."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.trainings import splits
from trainables.analysis.examine import examine
from trainables.analysis.randomness import find_random_modules
from trainables.build import build_training
from trainables.config.data_info import DataInfo
from trainables.config.training import Training
from trainables.contract import Trainable


class Functional(nn.Module):
    """Drops by a function whose rate nothing can set."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.dropout(x, 0.4, self.training)


class Noise(nn.Module):
    """Adds noise, in training mode only."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x) if self.training else x


class InPlace(nn.Module):
    """Changes its input in place, which is no random number."""

    def forward(self, x: Tensor) -> Tensor:
        return x.relu_()


def network(*layers: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 16), *layers, nn.Linear(16, 2))


@pytest.mark.parametrize(
    ("layers", "found"),
    [
        ((), ()),
        ((nn.BatchNorm1d(16), InPlace(), nn.Dropout(0.0)), ()),
        ((Functional(),), ("2",)),
        ((nn.Sequential(nn.ReLU(), Noise()), Functional()), ("2.1", "3")),
        ((nn.RReLU(),), ("2",)),
    ],
)
def test_modules_that_draw_are_named(layers: tuple[nn.Module, ...], found: tuple[str, ...]) -> None:
    model = network(*layers)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert find_random_modules(model, torch.randn(8, 1, 4, 4)) == found
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


class OwnForward(nn.Module):
    """Drops in the forward of the network itself."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(functional.dropout(x.flatten(1), 0.4, self.training))
        return out


def test_the_networks_own_forward_has_no_name() -> None:
    assert find_random_modules(OwnForward(), torch.randn(8, 1, 4, 4)) == ("",)


class Hidden(Trainable):
    """A network and an optimiser with regularisation of their own."""

    def build(self, info: DataInfo) -> nn.Module:
        return network(nn.Dropout(0.5), Noise())

    def optimizer(self, parameters: object, training: Training) -> torch.optim.Optimizer:
        return torch.optim.AdamW(parameters, lr=training.lr, weight_decay=0.1)  # type: ignore[arg-type]  # parameters of the contract


def test_an_examination_lists_what_no_strength_reaches() -> None:
    run = build_training(Hidden(), splits(), Training(), runs_to_end=True)
    assert examine(run, splits()).hidden == (
        "random numbers in 2 (Dropout)",
        "random numbers in 3 (Noise)",
        "weight_decay 0.1 of the optimizer, in every trial but the baseline",
    )


def test_the_baseline_has_no_weight_decay_of_the_optimizer() -> None:
    for baseline, decay in ((True, 0.0), (False, 0.1)):
        run = build_training(Hidden(), splits(), Training(), runs_to_end=baseline)
        assert [g["weight_decay"] for g in run.parts.optimizer.param_groups] == [decay]
