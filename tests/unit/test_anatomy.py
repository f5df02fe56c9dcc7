"""What a trained network consists of: dead units of any layer, and effective parameters."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from trainables.analysis.measure_anatomy import measure_anatomy
from trainables.config.anatomy import Anatomy
from trainables.config.training import Selection
from trainables.data.nests import Nest
from trainables.regularisers.weights import select_penalised


def look(model: nn.Module, *inputs: Nest) -> dict[str, tuple[int, int]]:
    """Dead units and units of each weight tensor."""
    found = measure_anatomy(model, select_penalised(model, Selection()), inputs)
    return {layer.name: (layer.dead, layer.units) for layer in found.layers}


def measure(model: nn.Module, *inputs: Nest) -> Anatomy:
    return measure_anatomy(model, select_penalised(model, Selection()), inputs)


@torch.no_grad()
def silence(layer: nn.Module, *units: int) -> None:
    """Make units never positive, for inputs of a normal distribution."""
    assert isinstance(layer.bias, Tensor)
    layer.bias[list(units)] = -1000.0


class Net(nn.Module):
    """Two layers, and what happens between them."""

    def __init__(
        self, first: nn.Module, between: Callable[[Tensor], Tensor], last: nn.Module
    ) -> None:
        super().__init__()
        self.first, self.between, self.last = first, between, last

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.last(self.between(self.first(x))))


SEQUENCES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "a function": (lambda: Net(nn.Linear(3, 8), torch.relu, nn.Linear(8, 2)), (99, 4, 3)),
    "a method": (lambda: Net(nn.Linear(3, 8), lambda h: h.relu(), nn.Linear(8, 2)), (99, 4, 3)),
    "a module in place": (
        lambda: Net(nn.Linear(3, 8), nn.ReLU(inplace=True), nn.Linear(8, 2)),
        (99, 4, 3),
    ),
    "features as long as steps, moved before the activation": (
        lambda: Net(
            nn.Linear(3, 8), lambda h: torch.relu(h.transpose(1, 2)).flatten(1), nn.Linear(64, 2)
        ),
        (99, 8, 3),
    ),
    "a mean over steps": (
        lambda: Net(nn.Linear(3, 8), lambda h: torch.relu(h).mean(1), nn.Linear(8, 2)),
        (99, 4, 3),
    ),
    "a norm before the activation": (
        lambda: Net(nn.Linear(3, 8), lambda h: torch.relu(2 * h + 1), nn.Linear(8, 2)),
        (99, 4, 3),
    ),
    "channels of a series": (
        lambda: Net(nn.Conv1d(3, 8, 2), lambda h: torch.relu(h).mean(-1), nn.Linear(8, 2)),
        (99, 3, 9),
    ),
    "channels moved to the end": (
        lambda: Net(nn.Conv1d(3, 8, 2), lambda h: torch.relu(h.transpose(1, 2)), nn.Linear(8, 2)),
        (99, 3, 9),
    ),
    "channels of an image": (
        lambda: Net(nn.Conv2d(3, 8, 2), lambda h: torch.relu(h).amax((2, 3)), nn.Linear(8, 2)),
        (99, 3, 8, 8),
    ),
    "channels of a volume": (
        lambda: Net(nn.Conv3d(1, 8, 2), lambda h: torch.relu(h).mean((2, 3, 4)), nn.Linear(8, 2)),
        (20, 1, 4, 4, 4),
    ),
    "channels of a transposed convolution in groups": (
        lambda: Net(
            nn.ConvTranspose1d(4, 8, 3, groups=4),
            lambda h: torch.relu(h).mean(-1),
            nn.Linear(8, 2),
        ),
        (99, 4, 5),
    ),
    "pixels as rows of features": (
        lambda: Net(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)),
        (20, 6, 6, 3),
    ),
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_units_are_features_or_channels_whatever_follows_them(name: str) -> None:
    torch.manual_seed(0)
    make, shape = SEQUENCES[name]
    model = make()
    assert isinstance(model, Net)
    assert look(model, torch.randn(shape))["first.weight"] == (0, 8)
    silence(model.first, 1, 4, 6)
    assert look(model, torch.randn(shape), torch.randn(shape)) == {
        "first.weight": (3, 8),
        "last.weight": (0, 2),
    }


def test_the_memory_format_of_images_changes_nothing() -> None:
    torch.manual_seed(0)
    model = Net(nn.Conv2d(3, 8, 2), lambda h: torch.relu(h).mean((2, 3)), nn.Linear(8, 2))
    silence(model.first, 0, 7)
    last = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub requires a dtype as well
    images = torch.randn(5, 3, 8, 8).to(memory_format=torch.channels_last)
    assert look(last, images)["first.weight"] == (2, 8)


def test_a_unit_that_is_active_for_one_sample_at_one_position_lives() -> None:
    model = Net(nn.Linear(2, 3), torch.relu, nn.Linear(3, 2))
    with torch.no_grad():
        model.first.weight.zero_()  # type: ignore[union-attr,operator]  # a linear layer's
        model.first.weight[0, 0] = 1.0  # type: ignore[index]  # a linear layer's
        model.first.bias.fill_(-1.0)  # type: ignore[union-attr,operator]  # a linear layer's
    quiet = torch.zeros(4, 5, 2)
    assert look(model, quiet)["first.weight"] == (3, 3)
    loud = quiet.clone()
    loud[2, 3, 0] = 5.0
    assert look(model, quiet, loud)["first.weight"] == (2, 3)


def test_a_unit_without_weights_out_is_not_dead_but_its_weights_are_not_effective() -> None:
    torch.manual_seed(0)
    model = Net(nn.Linear(3, 4), torch.relu, nn.Linear(4, 2))
    before = measure(model, torch.randn(50, 3))
    assert (before.nonzero, before.effective) == (26, 26)
    with torch.no_grad():
        model.last.weight[:, 1] = 0  # type: ignore[index,operator]  # a linear layer's
    found = measure(model, torch.randn(50, 3))
    assert (found.dead, found.zeros, found.nonzero, found.effective) == (0, 2, 24, 20)


class Last(nn.Module):
    """A recurrent layer, of which the last output or the last state is read."""

    def __init__(self, layer: nn.Module, *, state: bool = False) -> None:
        super().__init__()
        self.layer, self.state, self.head = layer, state, nn.LazyLinear(2)

    def forward(self, x: Tensor) -> Tensor:
        out, state = self.layer(x)
        state = state[0] if isinstance(state, tuple) else state
        return torch.as_tensor(self.head(state[-1] if self.state else out[:, -1]))


@torch.no_grad()
def stop(layer: nn.Module, level: str, *units: int) -> None:
    """Zero all weights and biases of units, in every gate."""
    hidden = layer.hidden_size
    assert isinstance(hidden, int)
    for name, parameter in layer.named_parameters():
        if name.endswith(level):
            for unit in units:
                parameter[unit::hidden] = 0


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("state", [False, True])
def test_units_of_recurrent_layers_are_those_of_their_last_level(
    kind: type[nn.LSTM], state: bool
) -> None:
    torch.manual_seed(0)
    model = Last(kind(3, 6, num_layers=2, batch_first=True), state=state)
    x = torch.randn(5, 4, 3)
    model(x)
    stop(model.layer, "l1", 2, 5)
    found = look(model, x)
    assert found["layer.weight_ih_l1"] == (2, 6)
    assert found["layer.weight_ih_l0"] == found["layer.weight_hh_l0"] == (0, 0)
    assert found["head.weight"] == (0, 2)


def test_the_directions_of_a_recurrent_layer_are_told_apart() -> None:
    torch.manual_seed(0)
    model = Last(nn.GRU(3, 6, bidirectional=True, batch_first=True))
    x = torch.randn(5, 4, 3)
    model(x)
    stop(model.layer, "l0_reverse", 0, 1, 2)
    found = look(model, x)
    assert (found["layer.weight_ih_l0"], found["layer.weight_ih_l0_reverse"]) == ((0, 6), (3, 6))


def test_units_of_a_transformer_are_those_of_its_projections_and_feedforward_layers() -> None:
    torch.manual_seed(0)
    block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.Sequential(nn.Linear(3, 8), block, nn.Linear(8, 2))
    silence(block.linear1, 3, 4)
    with torch.no_grad():
        block.self_attn.out_proj.weight[:3] = 0
    found = look(model, torch.randn(99, 4, 3))
    assert found == {
        "0.weight": (0, 8),
        "1.self_attn.in_proj_weight": (0, 0),
        "1.self_attn.out_proj.weight": (3, 8),
        "1.linear1.weight": (2, 16),
        "1.linear2.weight": (0, 8),
        "2.weight": (0, 2),
    }


def test_a_parametrised_layer_has_the_units_of_its_outputs() -> None:
    torch.manual_seed(0)
    first = parametrizations.weight_norm(nn.Linear(3, 8))
    silence(first, 2)
    found = look(nn.Sequential(first, nn.ReLU(), nn.Linear(8, 2)), torch.randn(9, 3))
    assert (1, 8) in found.values()


class Refuses(nn.Module):
    """A network whose forward reads its hidden values as an array."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        scale = 1.0 if self.training else float(abs(hidden.numpy()).max())
        return torch.as_tensor(self.last(hidden / scale))


class Unlike(nn.Module):
    """A network whose outputs have no derivative."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.as_tensor(self.last(self.first(x)))


@pytest.mark.parametrize("kind", [Unlike, Refuses])
def test_without_derivatives_only_constant_outputs_are_dead(kind: type[Unlike]) -> None:
    torch.manual_seed(0)
    model = kind()
    with torch.no_grad():
        model.first.weight[1] = 0
        model.first.bias[1] = 0
    found = measure(model, torch.randn(9, 3))
    assert (found.dead, found.effective, found.nonzero) == (1, None, 22)


def test_measuring_leaves_the_network_and_the_random_numbers_as_they_are() -> None:
    torch.manual_seed(0)
    model = Net(nn.Linear(3, 4), torch.relu, nn.Linear(4, 2))
    model.first.weight.requires_grad_(False)  # type: ignore[union-attr,operator]  # a linear layer's
    x, state = torch.randn(9, 3), torch.get_rng_state()
    before = model(x)
    assert measure(model, x).effective == 26
    assert torch.equal(model(x), before)
    assert torch.equal(torch.get_rng_state(), state)
    assert [p.requires_grad for p in model.parameters()] == [False, True, True, True]
    assert all(p.grad is None for p in model.parameters())


def test_an_anatomy_is_read_as_it_was_written_by_earlier_versions_too() -> None:
    found = measure(Net(nn.Linear(3, 4), torch.relu, nn.Linear(4, 2)), torch.randn(9, 3))
    assert Anatomy.from_dict(found.to_dict()) == found
    older = {k: v for k, v in found.to_dict().items() if k != "connected"}
    assert Anatomy.from_dict(older).effective is None
    assert older["effective"] == found.nonzero
