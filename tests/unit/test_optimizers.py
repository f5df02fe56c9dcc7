"""The optimisers that a spec names are torch's, with torch's arguments and defaults."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch import nn

from tests.rates import begin, finish
from tests.specs import problems
from trainables.config.data_info import DataInfo
from trainables.config.optimizers import UNSUITED, TorchOptimizer, optimizers
from trainables.config.training import Training
from trainables.contract import Trainable

NAMED = {n: c for n, c in optimizers.built_in().items() if issubclass(c, TorchOptimizer)}
OURS = {"params", "lr", "weight_decay", "lambd"}
"""Arguments that are not the optimiser's own: the rate, and decay, which is a penalty."""
HOW = {"foreach", "maximize", "capturable", "differentiable", "fused", "decoupled_weight_decay"}
"""Arguments that say how torch computes."""


def list_torchs() -> set[str]:
    kinds = (k for k in vars(torch.optim).values() if isinstance(k, type))
    found = {k.__name__ for k in kinds if issubclass(k, torch.optim.Optimizer)}
    return found - {"Optimizer"}


def test_every_optimizer_of_torch_is_named_or_refused() -> None:
    known = {name.replace("_", "") for name in (*NAMED, *UNSUITED)}
    assert known == {name.lower() for name in list_torchs()}


@pytest.mark.parametrize("name", NAMED)
def test_arguments_and_defaults_are_torchs(name: str) -> None:
    config = NAMED[name]
    kind = {k.lower(): k for k in list_torchs()}[name]
    signature = inspect.signature(getattr(torch.optim, kind)).parameters
    theirs = {n: p.default for n, p in signature.items() if n not in OURS | HOW}
    fields = {n: f.default for n, f in config.model_fields.items() if n != "name"}
    if name == "sgd":
        fields["momentum"] = 0  # that of `training.momentum`
    assert fields == theirs


@pytest.mark.parametrize("name", NAMED)
def test_no_optimizer_decays_weights_and_each_trains(name: str) -> None:
    weight = nn.Parameter(torch.ones(3, 3))
    made = optimizers.parse(name).build([weight], lr=0.1, momentum=0.0)
    assert type(made).__name__.lower() == ("adam" if name == "adamw" else name)
    for _ in range(3):
        weight.grad = torch.zeros_like(weight)
        made.step()
    assert torch.equal(weight, torch.ones(3, 3))
    weight.grad = torch.ones_like(weight)
    made.step()
    assert (weight < 1).all()


def test_options_of_a_spec_reach_torch() -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    raw = {"name": "rmsprop", "alpha": 0.9, "momentum": 0.5, "centered": True}
    (group,) = optimizers.parse(raw).build([weight], lr=0.1, momentum=0.0).param_groups
    assert (group["alpha"], group["momentum"], group["centered"]) == (0.9, 0.5, True)


class Decaying(Trainable):
    """A linear model whose weight, not its bias, torch's own optimiser decays."""

    def __init__(self, kind: str, decay: float) -> None:
        self._kind, self._decay = kind, decay

    def build(self, info: DataInfo) -> nn.Module:
        self.layer = nn.Linear(16, info.outputs)
        return nn.Sequential(nn.Flatten(), self.layer)

    def optimizer(self, parameters: Any, training: Training) -> Any:
        if not self._decay:
            return super().optimizer(parameters, training)
        groups = [
            {"params": [self.layer.weight], "weight_decay": self._decay},
            {"params": [self.layer.bias]},
        ]
        return getattr(torch.optim, self._kind)(groups, lr=training.lr)


@pytest.mark.parametrize(
    "kind", ["Adam", "NAdam", "RAdam", "Adamax", "RMSprop", "Adagrad", "Adadelta", "ASGD"]
)
def test_l2_with_an_optimizer_is_the_weight_decay_of_torchs(kind: str) -> None:
    training = {"optimizer": kind.lower(), "lr": 0.02, "schedule": "linear"}
    ours = begin(Decaying(kind, 0.0), training, penalty="l2", **{"lambda": 0.05})
    theirs = begin(Decaying(kind, 0.1), training)
    for run in (ours, theirs):
        finish(run)
    for a, b in zip(ours.model.parameters(), theirs.model.parameters(), strict=True):
        assert torch.allclose(a, b, atol=2e-5 if kind == "ASGD" else 1e-6)


@pytest.mark.parametrize(
    ("training", "path", "words"),
    [
        ({"optimizer": "lbfgs"}, "optimizer", "'lbfgs' calls a closure several times in a step"),
        ({"optimizer": "SparseAdam"}, "optimizer", "'SparseAdam' takes only sparse gradients"),
        ({"optimizer": "muon"}, "optimizer", "'muon' updates matrices only"),
        ({"optimizer": "rmsprp"}, "optimizer", "did you mean 'rmsprop'?"),
        (
            {"optimizer": {"name": "adamw", "weight_decay": 0.01}},
            "optimizer.weight_decay",
            "a penalty decays weights, so that λ is searched: `space: {penalty: l2",
        ),
        (
            {"optimizer": {"name": "nadam", "lr": 0.01}},
            "optimizer.lr",
            "unknown key; set `training.lr`",
        ),
        ({"optimizer": {"name": "rmsprop", "alpha": 1.5}}, "optimizer.alpha", "less than 1"),
        ({"weight_decay": 0.01}, "weight_decay", "a penalty decays weights"),
        ({"grad_clip": 1.0}, "grad_clip", "did you mean 'clip_norm'?"),
        ({"gradient_clip_val": 1.0}, "gradient_clip_val", "did you mean 'clip_norm'?"),
        ({"accumulate_grad_batches": 2}, "accumulate_grad_batches", "did you mean 'accumulate'?"),
        ({"scheduler": "cosine"}, "scheduler", "did you mean 'schedule'?"),
        ({"learning_rate": 0.1}, "learning_rate", "did you mean 'lr'?"),
        ({"schedule": "onecycle"}, "schedule", "did you mean 'one_cycle'?"),
        (
            {"schedule": {"name": "step", "step_size": 2, "milestones": [3]}},
            "schedule",
            "give `step_size` or `milestones`, not both",
        ),
        (
            {"schedule": {"name": "plateau", "metric": "gap/loss"}, "measure_every": 2},
            "measure_every",
            "must be 1, got 2: training.schedule.metric is 'gap/loss'",
        ),
        (
            {"schedule": {"name": "step", "step_size": 40}},
            "schedule.step_size",
            "the rate would fall after 40 epochs, and max_epochs is 40",
        ),
        (
            {"schedule": {"name": "step", "milestones": [50, 60]}},
            "schedule.milestones",
            "would fall after 50 epochs",
        ),
        (
            {"schedule": {"name": "plateau", "patience": 39}},
            "schedule.patience",
            "would fall after 40 epochs",
        ),
        ({"schedule": {"name": "cosine", "T_max": 9}}, "schedule.T_max", "`training.max_epochs`"),
        ({"schedule": {"name": "cosine", "eta_min": 0}}, "schedule.eta_min", "'end_factor'"),
        (
            {"schedule": {"name": "one_cycle", "max_lr": 0.1}},
            "schedule.max_lr",
            "set `training.lr`",
        ),
        (
            {"schedule": {"name": "linear", "warmup_steps": 9}},
            "schedule.warmup_steps",
            "set `training.warmup_epochs`",
        ),
        ({"warmup_epochs": 40}, "warmup_epochs", "leaves no epoch for the schedule: max_epochs"),
    ],
)
def test_a_mistake_names_what_would_be_right(
    training: dict[str, Any], path: str, words: str
) -> None:
    found = problems(training=training)
    assert words in found[f"training.{path}"]


def test_a_parameter_of_the_space_has_the_same_hints() -> None:
    found = problems(space={"weight_decay": {"float": [0.0, 0.1]}, "grad_clip": {"float": [1, 2]}})
    assert "a penalty decays weights" in found["space.weight_decay"]
    assert "did you mean 'clip_norm'?" in found["space.grad_clip"]
