"""Which columns of a table a network keeps, whatever its first layer is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.kinds_of_inputs import build
from trainables.analysis.input_columns import find_kept_columns, find_used_features

X = torch.randn(50, 4, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def drop(layer: nn.Module, *features: int) -> nn.Module:
    """Zero all weights out of some inputs of a linear layer."""
    assert isinstance(layer.weight, Tensor)
    layer.weight[:, list(features)] = 0
    return layer


class Around(nn.Module):
    """A way around the layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = drop(nn.Linear(4, 4), 0, 2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.layer(x) + x * torch.tensor([1.0, 0, 0, 0]))


class Squares(nn.Module):
    """The first layer takes each column twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = drop(nn.Linear(8, 3), 0, 1, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.layer(torch.cat([x, x**2], 1)))


class Own(nn.Module):
    """A layer of the user's own."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(4, 3) * torch.tensor([1.0, 0, 1, 0])[:, None])

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x @ self.matrix)


class Branches(nn.Module):
    """Two first layers."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = drop(nn.Linear(4, 3), 0, 1, 2), drop(nn.Linear(4, 3), 1, 2, 3)
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.cat([torch.relu(self.one(x)), torch.relu(self.two(x))], 1)
        return torch.as_tensor(self.head(hidden))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], list[bool]]] = {
    "a linear layer": (lambda: drop(nn.Linear(4, 3), 1, 3), [True, False, True, False]),
    "behind others": (
        lambda: nn.Sequential(
            nn.Flatten(), nn.BatchNorm1d(4), nn.Dropout(), drop(nn.Linear(4, 3), 1), nn.ReLU()
        ),
        [True, False, True, True],
    ),
    "dead units after it": (
        lambda: nn.Sequential(drop(nn.Linear(4, 3), 1), nn.Threshold(1e9, 0.0), nn.Linear(3, 2)),
        [True, False, True, True],
    ),
    "a way around": (Around, [True, True, False, True]),
    "columns taken twice": (Squares, [False, True, True, True]),
    "a layer of one's own": (Own, [True, False, True, False]),
    "two first layers": (Branches, [True, False, False, True]),
    "a norm over the columns": (
        lambda: nn.Sequential(nn.LayerNorm(4), drop(nn.Linear(4, 3), 1)),
        [True] * 4,
    ),
    "a convolution over the columns": (
        lambda: nn.Sequential(nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 2, 3), nn.Flatten()),
        [True] * 4,
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_feature_is_used_if_a_weight_out_of_it_is_not_zero(name: str) -> None:
    torch.manual_seed(0)
    make, wanted = NETWORKS[name]
    model = make()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    used = find_used_features(model, X)
    assert used is not None
    assert used.tolist() == wanted
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


def test_columns_have_the_users_names_and_a_category_keeps_its_column() -> None:
    run, splits = build("frame")
    with torch.no_grad():
        run.model.layer.weight[:, [1, 3]] = 0  # type: ignore[union-attr,index,operator]  # a linear layer's
        run.model.layer.weight[:, 4] = 0  # type: ignore[union-attr,index,operator]  # "no" of word
    found = find_kept_columns(run, splits)
    assert found is not None
    assert (found.names, found.reason) == (("a", "b", "c", "d", "word"), "")
    assert found.kept == (True, False, True, False, True)


def test_columns_of_an_array_have_their_positions_as_names() -> None:
    run, splits = build("rows")
    found = find_kept_columns(run, splits)
    assert found is not None
    assert found.names == ("x[:, 0]", "x[:, 1]", "x[:, 2]", "x[:, 3]")
    assert found.kept == (True,) * 4


class Binned(nn.Module):
    """A network that reads its first column in a way that has no derivative."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.bins, self.layer = nn.Embedding(2, outputs), nn.Linear(3, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.bins((x[:, 0] > 0).long()) + self.layer(x[:, 1:]))


class Detached(nn.Module):
    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.layer = nn.Linear(4, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.layer(x.detach()))


@pytest.mark.parametrize(
    ("network", "words"),
    [("Binned", "columns by which they have no derivative"), ("Detached", "no derivative")],
)
def test_where_the_first_layer_cannot_be_told_it_says_so(network: str, words: str) -> None:
    run, splits = build("rows", f"{__name__}:{network}")
    found = find_kept_columns(run, splits)
    assert found is not None
    assert found.kept == ()
    assert words in found.reason


def test_what_is_no_table_has_no_columns() -> None:
    assert find_kept_columns(*build("images")) is None
    assert find_kept_columns(*build("series")) is None
