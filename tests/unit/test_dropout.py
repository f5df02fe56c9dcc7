"""Dropout as a value."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainables.regularisers.dropout import (
    Dropout,
    find_activations,
    find_dropout_layers,
    replace_dropout,
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
    model = replace_dropout(
        nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout(0.1)), nn.Dropout2d(0.2))
    )
    assert list(find_dropout_layers(model)) == ["1.0", "2"]
    set_rate(model, 0.5)
    assert [float(d.rate) for d in find_dropout_layers(model).values()] == [0.5, 0.5]
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
    ours, theirs = replace_dropout(kind(0.2))(inputs), kind(0.2)(inputs)
    assert float(ours.mean()) == pytest.approx(0, abs=0.02)
    assert float(ours.std()) == pytest.approx(1, abs=0.02)
    dropped = theirs[theirs < theirs.quantile(0.1)].unique()[0]
    assert float((ours - dropped).abs().min()) < 1e-4


class DropPath(nn.Module):
    """As timm writes it: the rate is an attribute."""

    def __init__(self, drop_prob: float) -> None:
        super().__init__()
        self.drop_prob = drop_prob


def test_stochastic_depth_grows_with_the_depth() -> None:
    model = nn.Sequential(DropPath(0.5), nn.ReLU(), DropPath(0.5))
    set_depth_rate(model, 0.2)
    assert [layer.drop_prob for layer in find_depth_layers(model).values()] == [0.1, 0.2]


def test_activations_are_where_dropout_could_follow() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.GELU(), nn.Sequential(nn.ReLU()))
    assert find_activations(model) == ("1", "2.0")
