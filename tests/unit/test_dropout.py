"""Dropout as a value."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainables.config.regularisers import NEUTRAL, read_regularisers
from trainables.regularisers.dropout import (
    Dropout,
    adopt_dropout,
    find_activations,
    find_dropout,
    set_rate,
)
from trainables.regularisers.stochastic_depth import find_depth_layers, set_depth_rate


def test_rate_is_the_share_dropped_and_the_mean_stays() -> None:
    torch.manual_seed(0)
    layer = Dropout(0.3)
    out = layer(torch.ones(200, 1000))
    assert float((out == 0).float().mean()) == pytest.approx(0.3, abs=0.01)
    assert float(out.mean()) == pytest.approx(1.0, abs=0.01)


def test_rate_zero_and_eval_mode_change_nothing() -> None:
    inputs = torch.randn(4, 5)
    assert torch.equal(Dropout(0.0)(inputs), inputs)
    assert torch.equal(Dropout(0.9).eval()(inputs), inputs)


def test_torch_dropout_is_adopted_in_place_and_set_as_a_value() -> None:
    model = adopt_dropout(
        nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout(0.1)), nn.Dropout2d(0.2))
    )
    assert find_dropout(model) == ("1.0", "2")
    set_rate(model, 0.5)
    assert [float(model[1][0].rate), float(model[2].rate)] == [0.5, 0.5]
    assert set(model.state_dict()) == {"0.weight", "0.bias"}


def test_channelwise_dropout_drops_whole_channels() -> None:
    torch.manual_seed(0)
    out = Dropout(0.5, channelwise=True)(torch.ones(8, 16, 4, 4))
    per_channel = (out == 0).float().mean(dim=(2, 3))
    assert set(per_channel.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("kind", [nn.AlphaDropout, nn.FeatureAlphaDropout])
def test_alpha_dropout_is_torchs_own(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    inputs = torch.randn(400, 500)
    ours, theirs = adopt_dropout(kind(0.2))(inputs), kind(0.2)(inputs)
    assert float(ours.mean()) == pytest.approx(0, abs=0.02)
    assert float(ours.std()) == pytest.approx(1, abs=0.02)
    dropped = theirs[theirs < theirs.quantile(0.1)].unique()[0]
    assert float((ours - dropped).abs().min()) < 1e-4


def differ(model: nn.Module, *inputs: torch.Tensor) -> bool:
    """Whether two passes in training mode with different seeds differ."""
    passes = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        out = model.train()(*inputs)
        passes.append(out[0] if isinstance(out, tuple) else out)
    return not torch.equal(*passes)


class Locked(nn.Dropout):
    """One mask for all time steps: a forward of its own."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or not self.p:
            return x
        mask = torch.rand(x.shape[0], 1, x.shape[2]) >= self.p
        return x * mask / (1 - self.p)


class Attention(nn.Module):
    """Reads the rate of its dropout layer, as attention layers do."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rate = self.dropout.p if self.training else 0.0
        return nn.functional.scaled_dot_product_attention(x, x, x, dropout_p=rate)


class ByNumber(nn.Module):
    """Keeps the rate as a number, as many models of transformers do."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.attention_dropout = rate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(x, self.attention_dropout, self.training)


@pytest.mark.parametrize(
    ("model", "shape", "places"),
    [
        (Locked(0.4), (4, 3, 8), ("",)),
        (nn.Sequential(Attention()), (2, 4, 8), ("0.dropout",)),
        (nn.Sequential(ByNumber(0.4)), (4, 8), ("0.attention_dropout",)),
        (nn.MultiheadAttention(8, 2, dropout=0.4), (3, 2, 8), ("dropout",)),
        (nn.Sequential(nn.LSTM(8, 8, 2, dropout=0.4)), (3, 8), ("0.dropout",)),
        (
            nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, dropout=0.4)),
            (3, 2, 8),
            ("0.self_attn.dropout", "0.dropout", "0.dropout1", "0.dropout2"),
        ),
    ],
)
def test_every_kind_of_dropout_follows_the_rate(
    model: nn.Module, shape: tuple[int, ...], places: tuple[str, ...]
) -> None:
    torch.manual_seed(0)
    inputs = torch.randn(shape)
    arguments = (inputs,) * (3 if isinstance(model, nn.MultiheadAttention) else 1)
    model = adopt_dropout(model)
    assert find_dropout(model) == places
    assert differ(model, *arguments)
    set_rate(model, 0.0)
    assert not differ(model, *arguments)
    set_rate(model, 0.5)
    assert find_dropout(model) == places
    assert differ(model, *arguments)


def test_a_layer_that_is_used_twice_follows_the_rate_in_both_places() -> None:
    shared = nn.Dropout(0.5)
    model = adopt_dropout(nn.Sequential(nn.Linear(8, 8), shared, nn.Linear(8, 8), shared))
    assert find_dropout(model) == ("1", "3")
    assert model[1] is model[3]
    set_rate(model, 0.0)
    assert not differ(model, torch.randn(4, 8))


def test_a_subclass_keeps_its_own_forward() -> None:
    model = adopt_dropout(nn.Sequential(Locked(0.5)))
    assert type(model[0]) is Locked
    torch.manual_seed(0)
    kept = (model.train()(torch.ones(4, 6, 8)) != 0).float()
    assert torch.equal(kept, kept[:, :1].expand_as(kept))


def test_a_rate_of_zero_by_number_is_left_alone() -> None:
    model = adopt_dropout(nn.Sequential(ByNumber(0.0), nn.Dropout(0.0)))
    assert find_dropout(model) == ("1",)


class ShortNames(nn.Module):
    """Keeps rates under names without the word."""

    def __init__(self) -> None:
        super().__init__()
        self.p, self.attn_p, self.p_hidden, self.eps = 0.4, 0.3, 0.2, 0.1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for rate in (self.p, self.attn_p, self.p_hidden):
            x = nn.functional.dropout(x, rate, self.training)
        return x * (1 + self.eps)


def test_rates_with_short_names_are_set_as_well() -> None:
    model = adopt_dropout(nn.Sequential(ShortNames(), nn.Dropout2d(0.1)))
    assert find_dropout(model) == ("0.p", "0.attn_p", "0.p_hidden", "1")
    set_rate(model, 0.0)
    assert not differ(model, torch.randn(4, 8, 2, 2))
    assert model[0].eps == 0.1


class DropPath(nn.Module):
    """As timm writes it: the rate is an attribute."""

    def __init__(self, drop_prob: float) -> None:
        super().__init__()
        self.drop_prob = drop_prob


def test_stochastic_depth_grows_with_the_depth() -> None:
    model = nn.Sequential(DropPath(0.5), nn.ReLU(), DropPath(0.5))
    set_depth_rate(model, 0.2)
    assert [layer.drop_prob for layer in find_depth_layers(model).values()] == [0.1, 0.2]


class OneDropPath(DropPath):
    """As transformers name theirs, one class for each model."""


def test_stochastic_depth_is_no_dropout_and_neutral_at_zero() -> None:
    model = adopt_dropout(nn.Sequential(OneDropPath(0.5), nn.Dropout(0.1)))
    assert find_dropout(model) == ("1",)
    assert [*find_depth_layers(model)] == ["0"]
    neutral = next(r for r in read_regularisers(NEUTRAL) if r.key == "stochastic_depth")
    assert neutral.build().on_model(model)[0].drop_prob == 0.0


def test_activations_are_where_dropout_could_follow() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.GELU(), nn.Sequential(nn.ReLU()))
    assert find_activations(model) == ("1", "2.0")
