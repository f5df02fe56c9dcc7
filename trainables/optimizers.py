"""Builds the optimiser of a training, and checks the one that user-defined code returned."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from trainables.compat import wraps_step
from trainables.config.training import Training
from trainables.contract import Trainable
from trainables.errors import ContractError, blame
from trainables.schedulers import Returned, find_kept, has_scheduler, read_returned

_SHOWN = 4
_DECAYS = ("weight_decay", "lambd")
"""The options of torch's optimisers that decay weights; ``lambd`` is that of ASGD."""


def build_optimizer(trainable: Trainable, model: nn.Module, training: Training) -> Returned:
    """The optimiser of all parameters of a network that are trained, and its schedulers.

    They include those that the trainable steps by itself and keeps in its attributes.

    Raises:
        ContractError: it cannot be built, trains other parameters, or needs a closure, or a
            resumed trial could not restore one of its schedulers.
    """
    name = name_optimizer(trainable, training)
    made = make_optimizer(trainable, model, training)
    with blame(_name_key(trainable), name):
        _check_parameters(made.optimizer, model, name)
        _check_step(made.optimizer)
        if has_scheduler(made.optimizer) and not made.schedulers:
            raise ContractError(
                f"{name} makes a scheduler that it neither returns nor keeps as an attribute of "
                "the Trainable, so that a resumed trial could not restore it; return (optimizer, "
                "scheduler)"
            )
    return made


def make_optimizer(trainable: Trainable, model: nn.Module, training: Training) -> Returned:
    """What :func:`build_optimizer` returns, whatever parameters it trains.

    Raises:
        ContractError: it cannot be built.
    """
    name = name_optimizer(trainable, training)
    with blame(_name_key(trainable), name):
        made = read_returned(trainable.optimizer(list(model.parameters()), training), name)
        return replace(made, schedulers=(*made.schedulers, *find_kept(trainable, made)))


def _name_key(trainable: Trainable) -> str:
    return "trainable" if is_own(trainable) else "training.optimizer"


def is_own(trainable: Trainable) -> bool:
    """Whether the trainable makes its optimiser itself."""
    return type(trainable).optimizer is not Trainable.optimizer


def name_optimizer(trainable: Trainable, training: Training) -> str:
    """What makes the optimiser, for errors."""
    own = is_own(trainable)
    return f"{type(trainable).__name__}.optimizer" if own else training.optimizer.name


def list_changes(
    trainable: Trainable, model: nn.Module, training: Training, changes: Mapping[str, Any]
) -> list[bool]:
    """For each of the optimiser's groups, whether other training options change it."""
    others = training.model_copy(update=dict(changes))
    made = (make_optimizer(trainable, model, t) for t in (training, others))
    before, after = map(_describe_groups, made)
    if len(before) != len(after):
        return [True]
    return [a != b for a, b in zip(before, after, strict=True)]


def _describe_groups(made: Returned) -> list[str]:
    kind = type(made.optimizer).__name__
    states = [own.scheduler.state_dict() for own in made.schedulers]
    return [
        repr((kind, {k: v for k, v in group.items() if k != "params"}, states))
        for group in made.optimizer.param_groups
    ]


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
    parameters = list(inspect.signature(optimizer.step).parameters.values())
    if wraps_step(optimizer):
        parameters = parameters[1:]  # the optimiser itself
    needed = [
        p.name
        for p in parameters
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
