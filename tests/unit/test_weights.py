"""What a parameter is comes from the module that owns it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils import weight_norm as old_weight_norm

from tests.trainings import splits
from trainables.build import build_training
from trainables.config.data_info import DataInfo
from trainables.config.regularisers import read_regularisers
from trainables.config.training import Selection, Training
from trainables.contract import Trainable
from trainables.errors import ContractError
from trainables.loop import train
from trainables.regularisers.weights import explain_derived, select_penalised


class RootMeanNorm(nn.Module):
    """A norm of somebody's own, over two axes."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 8))


class Own(nn.Module):
    """Parameters of many kinds, kept by the network itself."""

    def __init__(self) -> None:
        super().__init__()
        self.inp = nn.Linear(1, 8)
        self.norm = nn.LayerNorm([4, 8])
        self.own_norm = RootMeanNorm()
        self.shift = nn.Parameter(torch.zeros(1, 4, 1))
        self.token = nn.Parameter(torch.zeros(1, 1, 8))
        self.positions = nn.Parameter(torch.zeros(1, 4, 8))
        self.mask_tokens = nn.Parameter(torch.zeros(2, 8))
        self.pos_embed = nn.Parameter(torch.zeros(4, 8))
        self.layer_scale = nn.Parameter(torch.ones(4, 8))
        self.prompts = nn.ParameterDict(
            {"tokens": nn.Parameter(torch.zeros(2, 8)), "mixing": nn.Parameter(torch.zeros(8, 8))}
        )
        self.mixing = nn.Parameter(torch.zeros(8, 8))
        self.head_weight = nn.Parameter(torch.zeros(1, 8))
        self.attention = nn.MultiheadAttention(8, 2, add_bias_kv=True)
        self.rnn = nn.LSTM(8, 8)
        self.deconv = nn.ConvTranspose1d(8, 4, 3)


def test_only_matrices_and_kernels_are_penalised() -> None:
    chosen = {w.name: w.unit_axis for w in select_penalised(Own(), Selection())}
    assert chosen == {
        "mixing": 0,
        "prompts.mixing": 0,
        "head_weight": 0,
        "inp.weight": 0,
        "attention.in_proj_weight": 0,
        "attention.out_proj.weight": 0,
        "rnn.weight_ih_l0": 0,
        "rnn.weight_hh_l0": 0,
        "deconv.weight": 1,
    }


def test_what_is_none_by_default_can_be_included() -> None:
    chosen = select_penalised(Own(), Selection(include=("token", "norm.weight")))
    assert {"token", "norm.weight"} <= {w.name for w in chosen}


class Tied(nn.Module):
    """An embedding whose weights are those of the output layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(6, 4), nn.Linear(4, 6)
        self.head.weight = self.embedding.weight


def test_tied_weights_take_the_strictest_of_their_places() -> None:
    (tied,) = select_penalised(Tied(), Selection(), "head")
    assert (tied.name, tied.unit_axis, tied.bias) == ("embedding.weight", None, None)
    assert not select_penalised(Tied(), Selection(exclude=("head",)))
    scaled = select_penalised(Tied(), Selection(scale={"head*": 0.5}))
    assert [w.factor for w in scaled] == [0.5]


def test_frozen_weights_and_biases_never_move() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    model[0].bias.requires_grad_(False)
    model[1].weight.requires_grad_(False)
    (first,) = select_penalised(model, Selection())
    assert (first.name, first.bias) == ("0.weight", None)


PARAMETRISED = [
    parametrizations.weight_norm,
    parametrizations.spectral_norm,
    pytest.param(
        old_weight_norm, marks=pytest.mark.filterwarnings("ignore::FutureWarning"), id="old"
    ),
]


class Normed(Trainable):
    """A first layer whose weight is computed from others."""

    def __init__(self, normalise: Any) -> None:
        self.normalise = normalise

    def build(self, info: DataInfo) -> nn.Module:
        first = self.normalise(nn.Linear(16, 8))
        return nn.Sequential(nn.Flatten(), first, nn.ReLU(), nn.Linear(8, info.outputs))


@pytest.mark.parametrize("normalise", PARAMETRISED)
@pytest.mark.parametrize(
    "active",
    [
        {"penalty": "l2", "lambda": 0.1},
        {"penalty": "group_lasso", "lambda": 0.1},
        {"max_norm": 0.5},
    ],
)
def test_a_penalty_on_parts_of_a_parametrisation_is_refused(
    normalise: Any, active: dict[str, Any]
) -> None:
    def build(exclude: tuple[str, ...] = (), **reg: Any) -> Any:
        training = Training(max_epochs=1, penalised=Selection(exclude=exclude))
        return build_training(Normed(normalise), splits(), training, read_regularisers(reg))

    with pytest.raises(ContractError, match=r"parts of a parametrisation.*exclude: \['1'\]"):
        build(**active)
    assert explain_derived(build().penalised)
    (result,) = train(build(("1",), **active))
    assert result.done


class Frozen(Trainable):
    """A first layer, and the bias of a second one, that are not trained."""

    def build(self, info: DataInfo) -> nn.Module:
        model = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, info.outputs))
        for parameter in (*model[1].parameters(), model[3].bias):
            parameter.requires_grad_(False)
        return model

    def optimizer(self, parameters: Any, training: Training) -> torch.optim.Optimizer:
        return torch.optim.AdamW(parameters, lr=training.lr, weight_decay=0.5)


@pytest.mark.parametrize(
    "active",
    [
        {"penalty": "group_lasso", "lambda": 1.0},
        {"penalty": "l1", "lambda": 1.0},
        {"penalty": "l2", "lambda": 1.0},
        {"max_norm": 0.01},
        {"gradient_noise": 1.0},
        {"ema": 0.5},
    ],
)
def test_what_is_frozen_stays_to_the_last_bit_under_each_regulariser(
    active: dict[str, Any],
) -> None:
    training = Training(max_epochs=2, lr=0.05, weight_init_seed=1)
    run = build_training(Frozen(), splits(), training, read_regularisers(active))
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    list(train(run))
    moved = {n for n, v in run.evaluated.state_dict().items() if not torch.equal(v, before[n])}
    assert moved == {"3.weight"}
