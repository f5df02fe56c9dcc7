"""Builds the optimiser of a training, and checks the one that user-defined code returned."""

from __future__ import annotations

import inspect

import torch
from torch import nn

from trainables.config.training import Training
from trainables.contract import Trainable
from trainables.errors import ContractError, blame
from trainables.returned import describe_returned

_SHOWN = 4
_DECAYS = ("weight_decay", "lambd")
"""The options of torch's optimisers that decay weights; ``lambd`` is that of ASGD."""


def build_optimizer(
    trainable: Trainable, model: nn.Module, training: Training
) -> torch.optim.Optimizer:
    """The optimiser of all parameters of a network that are trained.

    Raises:
        ContractError: it cannot be built, trains other parameters, or needs a closure.
    """
    own = type(trainable).optimizer is not Trainable.optimizer
    where = "trainable" if own else "training.optimizer"
    name = f"{type(trainable).__name__}.optimizer" if own else training.optimizer.name
    with blame(where, name):
        made = trainable.optimizer(model.parameters(), training)
        if not isinstance(made, torch.optim.Optimizer):
            raise ContractError(
                f"{name} returned {describe_returned(made)}; expected: a torch.optim.Optimizer"
            )
        _check_parameters(made, model, name)
        _check_step(made)
    return made


def list_decays(optimizer: torch.optim.Optimizer) -> list[str]:
    """The weight decay that an optimiser has by itself: ``weight_decay 0.01``, each once."""
    found = {(key, group.get(key, 0.0)) for group in optimizer.param_groups for key in _DECAYS}
    return [f"{key} {value:g}" for key, value in sorted(found) if value]


def switch_off_decay(optimizer: torch.optim.Optimizer) -> None:
    """Set the weight decay that an optimiser has by itself to 0."""
    for group in optimizer.param_groups:
        group.update({key: 0.0 for key in _DECAYS if key in group})


def _check_parameters(optimizer: torch.optim.Optimizer, model: nn.Module, name: str) -> None:
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    known = {id(p) for p in model.parameters()}
    missing = [n for n, p in model.named_parameters() if p.requires_grad and id(p) not in held]
    if missing:
        raise ContractError(
            f"the optimizer of {name} lacks {_list(missing)}, which the network trains; add them, "
            "or set requires_grad to False for parameters that are not trained"
        )
    if held - known:
        raise ContractError(
            f"the optimizer of {name} has {len(held - known)} parameters that are not the "
            "network's, and would not be saved with it; make them parameters of its modules"
        )


def _check_step(optimizer: torch.optim.Optimizer) -> None:
    needed = [
        p.name
        for p in inspect.signature(optimizer.step).parameters.values()
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    if needed:
        raise ContractError(
            f"{type(optimizer).__name__}.step needs {', '.join(needed)}, but a training step is "
            "forward, backward and `optimizer.step()`; use an optimizer that goes by gradients "
            "alone, such as adamw, adam or sgd"
        )


def _list(names: list[str]) -> str:
    return f"{', '.join(names[:_SHOWN])}{', …' if len(names) > _SHOWN else ''}"
