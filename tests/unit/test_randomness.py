"""What still draws random numbers in a training without regularisation is found by behaviour."""

from __future__ import annotations

import random
import threading

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations
from torch.nn.utils import weight_norm as old_weight_norm

from tests.trainings import splits
from trainables.analysis.examine import examine
from trainables.analysis.random_draws import find_random_modules
from trainables.build import build_training
from trainables.config.data_info import DataInfo, Kind, Task
from trainables.config.training import Training
from trainables.contract import Trainable
from trainables.data.batch import Batch
from trainables.optimizers import list_decays, switch_off_decay
from trainables.regularisers.dropout import adopt_dropout, set_rate

INFO = DataInfo((1, 4, 4), Task.CLASSIFICATION, 2, Kind.IMAGE)


class Plain(Trainable):
    """The step of any network."""

    def build(self, info: DataInfo) -> nn.Module:
        return network()


def found(
    model: nn.Module, x: object = None, trainable: Trainable | None = None
) -> tuple[str | None, ...]:
    trainable = trainable or Plain()
    trainable.setup(INFO, Training())
    inputs = torch.randn(8, 1, 4, 4) if x is None else x
    return find_random_modules(trainable, model, Batch(inputs, torch.arange(8) % 2))


class Functional(nn.Module):
    """Drops by a function whose rate nothing can set."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.dropout(x, 0.4, self.training)


class Noise(nn.Module):
    """Adds noise, in training mode only."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x) if self.training else x


class InPlaceNoise(nn.Module):
    """Changes its input, which a record of it must not show."""

    def forward(self, x: Tensor) -> Tensor:
        return x.add_(torch.randn_like(x)) if self.training else x


class InPlace(nn.Module):
    """Changes its input in place, which is no random number."""

    def forward(self, x: Tensor) -> Tensor:
        return x.relu_()


class OfNumpy(nn.Module):
    """Draws from numpy's and Python's global generators."""

    def forward(self, x: Tensor) -> Tensor:
        return x * float(np.random.rand() + random.random()) if self.training else x


class OwnGenerators(nn.Module):
    """Draws from generators with fixed seeds."""

    def __init__(self, kind: type) -> None:
        super().__init__()
        self.kind = kind
        self.numbers = np.random.default_rng(0)
        self.python = random.Random(0)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        drawn = self.numbers.random() if self.kind is np.ndarray else self.python.random()
        return x * float(drawn)


class Rare(nn.Module):
    """Is left out once in four steps, as with LayerDrop."""

    def forward(self, x: Tensor) -> Tensor:
        return x if self.training and torch.rand(()) < 0.25 else 2 * x


def network(*layers: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 16), *layers, nn.Linear(16, 2))


@pytest.mark.parametrize(
    ("layers", "names"),
    [
        ((), ()),
        ((nn.BatchNorm1d(16), InPlace(), nn.Dropout(0.0)), ()),
        ((parametrizations.spectral_norm(nn.Linear(16, 16)),), ()),
        ((Functional(),), ("2",)),
        ((nn.Sequential(nn.ReLU(), Noise()), Functional()), ("2.1", "3")),
        ((nn.RReLU(),), ("2",)),
        ((InPlaceNoise(),), ("2",)),
        ((OfNumpy(),), ("2",)),
        ((OwnGenerators(np.ndarray), OwnGenerators(float)), ("2", "3")),
        ((Rare(),), ("2",)),
    ],
)
def test_modules_that_draw_are_named(layers: tuple[nn.Module, ...], names: tuple[str, ...]) -> None:
    model, x = network(*layers), torch.randn(8, 1, 4, 4)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    states = torch.get_rng_state(), random.getstate(), str(np.random.get_state())
    assert found(model, x) == names
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    after = torch.get_rng_state(), random.getstate(), str(np.random.get_state())
    assert torch.equal(states[0], after[0])
    assert states[1:] == after[1:]


class OwnForward(nn.Module):
    """Drops in the forward of the network itself, and in a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.noise, self.head = Noise(), nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        dropped = functional.dropout(x.flatten(1), 0.4, self.training)
        out: Tensor = self.head(self.noise(dropped))
        return out


def test_the_networks_own_forward_has_no_name_and_hides_no_layer() -> None:
    assert found(OwnForward()) == ("", "noise")


class WithLock(Trainable):
    """Holds what cannot be copied, and takes gradients in its step."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def build(self, info: DataInfo) -> nn.Module:
        return network()

    def step(self, model: nn.Module, batch: Batch) -> Tensor:
        loss = super().step(model, batch)
        (slope,) = torch.autograd.grad(loss, [next(model.parameters())], create_graph=True)
        with self.lock:
            return loss + slope.square().sum()


def test_a_step_that_takes_gradients_and_holds_a_lock() -> None:
    assert found(network(Noise()), trainable=WithLock()) == ("2",)
    assert found(network(), trainable=WithLock()) == ()


class Unique(nn.Module):
    """Refuses to be copied."""

    def __deepcopy__(self, memo: object) -> Unique:
        raise TypeError("there is only one")

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_a_network_that_cannot_be_copied_is_said_to_be_unchecked() -> None:
    class Single(Plain):
        def build(self, info: DataInfo) -> nn.Module:
            return network(Unique())

    (text,) = examine(build_training(Single(), splits(), Training()), splits()).hidden
    assert "cannot be compared (TypeError: there is only one" in text


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_scripted_network_is_seen_from_outside() -> None:
    assert found(torch.jit.script(network(nn.Dropout(0.5)))) == (None,)
    assert found(torch.jit.script(network())) == ()


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_weight_with_a_graph_does_not_hinder() -> None:
    model = network(old_weight_norm(nn.Linear(16, 16)), Noise())
    assert found(model) == ("3",)


class NoisyStep(Trainable):
    """A step that draws before or after the network."""

    def __init__(self, place: str) -> None:
        self.place = place

    def build(self, info: DataInfo) -> nn.Module:
        return network()

    def step(self, model: nn.Module, batch: Batch) -> Tensor:
        x = batch.x + torch.randn_like(batch.x) if self.place == "before" else batch.x
        loss = self.losses(model(x), batch.y).mean()
        return loss * (1 + np.random.rand()) if self.place == "after" else loss


@pytest.mark.parametrize(("place", "names"), [("before", (None,)), ("after", (None,)), ("", ())])
def test_a_step_of_ones_own_is_part_of_it(place: str, names: tuple[None, ...]) -> None:
    assert found(network(), trainable=NoisyStep(place)) == names


def test_attention_of_transformers_that_keeps_rates_as_numbers_is_neutral_at_zero() -> None:
    from transformers import BartConfig, BartForConditionalGeneration

    ids = torch.randint(3, 20, (8, 7), generator=torch.Generator().manual_seed(0))
    model = BartForConditionalGeneration(
        BartConfig(
            **dict.fromkeys(("encoder_layers", "decoder_layers"), 1),
            **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 2),
            **dict.fromkeys(("d_model", "encoder_ffn_dim", "decoder_ffn_dim"), 16),
            vocab_size=20,
            max_position_embeddings=7,
            attention_dropout=0.3,
            activation_dropout=0.2,
            encoder_layerdrop=0.3,
            **{"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
            forced_eos_token_id=2,
            decoder_start_token_id=0,
        )
    )
    inputs = {"input_ids": ids, "labels": ids}
    assert {"model.encoder", "model.decoder"} <= set(found(model, inputs))
    model = adopt_dropout(model)
    set_rate(model, 0.0)
    assert found(model, inputs) == ()


class Hidden(Trainable):
    """A network, a step and an optimiser with regularisation of their own."""

    def build(self, info: DataInfo) -> nn.Module:
        return network(nn.Dropout(0.5), Noise())

    def step(self, model: nn.Module, batch: Batch) -> Tensor:
        return super().step(model, batch) + torch.rand(())

    def optimizer(self, parameters: object, training: Training) -> torch.optim.Optimizer:
        return torch.optim.AdamW(parameters, lr=training.lr, weight_decay=0.1)  # type: ignore[arg-type]  # parameters of the contract


def test_an_examination_lists_what_no_strength_reaches() -> None:
    run = build_training(Hidden(), splits(), Training(), runs_to_end=True)
    assert examine(run, splits()).hidden == (
        "random numbers in 2 (Dropout)",
        "random numbers in 3 (Noise)",
        "random numbers in the training step of Hidden itself",
        "weight_decay 0.1 of the optimizer, in every trial but the baseline",
    )


def test_the_baseline_has_no_weight_decay_of_the_optimizer() -> None:
    for baseline, decay in ((True, 0.0), (False, 0.1)):
        run = build_training(Hidden(), splits(), Training(), runs_to_end=baseline)
        assert [g["weight_decay"] for g in run.parts.optimizer.param_groups] == [decay]


def test_every_decay_of_an_optimizer_is_listed_and_switched_off() -> None:
    first, second = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    adamw = torch.optim.AdamW(
        [{"params": first.parameters(), "weight_decay": 0.0}, {"params": second.parameters()}]
    )
    asgd = torch.optim.ASGD(first.parameters())
    assert list_decays(adamw) == ["weight_decay 0.01"]
    assert list_decays(asgd) == ["lambd 0.0001"]
    for optimizer in (adamw, asgd):
        switch_off_decay(optimizer)
        assert list_decays(optimizer) == []
