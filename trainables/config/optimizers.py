"""The optimisers that a spec can name. None decays weights: that is a penalty."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from search_spaces.bounds import Amount, Bounds
from trainables.config.imports import ImportPath
from trainables.config.registry import Component, Custom, Registry

if TYPE_CHECKING:
    import torch
    from torch import nn

Beta = Annotated[float, Field(ge=0, lt=1)]
Betas = tuple[Beta, Beta]
Epsilon = Annotated[float, Field(gt=0), Bounds(0, 1e6)]
L2Update = Literal["decoupled", "coupled"]


class OptimizerConfig(Component):
    """An optimiser and its options. A subclass defines :meth:`build`."""

    @property
    def l2_update(self) -> L2Update:
        """The default of ``training.l2_update`` with this optimiser."""
        return "decoupled"

    def build(
        self, parameters: Iterable[nn.Parameter], *, lr: float, momentum: float
    ) -> torch.optim.Optimizer:
        """A new optimiser, which must not decay weights.

        Args:
            parameters: what it trains.
            lr: the initial learning rate, which the loop scales by the schedule.
            momentum: ``training.momentum``, for optimisers that have one.

        Raises:
            ContractError: a user-defined class cannot be imported or does not accept an option.
        """
        raise NotImplementedError


class CustomOptimizer(OptimizerConfig, Custom):
    """A `torch.optim.Optimizer` class, torch's or yours, called with the parameters and `lr`."""

    expected = "torch.optim:Optimizer"

    name: ImportPath

    def build(
        self, parameters: Iterable[nn.Parameter], *, lr: float, momentum: float
    ) -> torch.optim.Optimizer:
        """``Class(params, lr=lr, **options)``; ``params`` may also be named ``parameters``."""
        weights = list(parameters)
        made: torch.optim.Optimizer = self.create(params=weights, parameters=weights, lr=lr)
        return made


UNSUITED: Mapping[str, str] = {
    "lbfgs": "calls a closure several times in a step, and a training step is one forward and one "
    "backward pass",
    "sparseadam": "takes only sparse gradients, which penalties and weight matrices do not have",
    "sparse_adam": "takes only sparse gradients, which penalties and weight matrices do not have",
    "muon": "updates matrices only, and not biases, norms or kernels; override `optimizer` of a "
    "Trainable for a network that has nothing else to train",
}
"""Optimisers of ``torch.optim`` that train no network by themselves, and why."""

optimizers: Registry[OptimizerConfig] = Registry(
    "optimizer", CustomOptimizer, group="optimizers", refused=UNSUITED
)


class TorchOptimizer(OptimizerConfig):
    """An optimiser of ``torch.optim``; the fields are its arguments, and have torch's defaults."""

    path: ClassVar[str]
    fixed: ClassVar[Mapping[str, Any]] = {"weight_decay": 0.0}
    """Arguments that a spec does not set."""

    def build(
        self, parameters: Iterable[nn.Parameter], *, lr: float, momentum: float
    ) -> torch.optim.Optimizer:
        """Torch's class without weight decay."""
        kind = getattr(importlib.import_module("torch.optim"), self.path)
        made: torch.optim.Optimizer = kind(parameters, lr=lr, **self._list_options(), **self.fixed)
        return made

    def _list_options(self) -> dict[str, Any]:
        return {n: getattr(self, n) for n in type(self).model_fields if n != "name"}


class _Coupled(TorchOptimizer):
    """Its weight decay in torch is L2 in the gradient."""

    @property
    def l2_update(self) -> L2Update:
        """``coupled``."""
        return "coupled"


class _AdamOptions(TorchOptimizer):
    path = "Adam"
    fixed: ClassVar[Mapping[str, Any]] = {"weight_decay": 0.0, "fused": True}

    betas: Betas = (0.9, 0.999)
    eps: Epsilon = 1e-8
    amsgrad: bool = False


@optimizers.register
class AdamW(_AdamOptions):
    """Adam with L2 decoupled from the gradient (Loshchilov & Hutter 2019)."""

    name: Literal["adamw"] = "adamw"


@optimizers.register
class Adam(_AdamOptions, _Coupled):
    """Adam with L2 in the gradient, as in Kingma & Ba 2015 and ``torch.optim.Adam``."""

    name: Literal["adam"]


@optimizers.register
class Sgd(TorchOptimizer):
    """Stochastic gradient descent; ``momentum`` defaults to ``training.momentum``."""

    path = "SGD"
    fixed: ClassVar[Mapping[str, Any]] = {"weight_decay": 0.0, "fused": True}

    name: Literal["sgd"]
    momentum: float | None = Field(None, ge=0, lt=1)
    dampening: float = Field(0.0, ge=0, lt=1)
    nesterov: bool = False

    def build(
        self, parameters: Iterable[nn.Parameter], *, lr: float, momentum: float
    ) -> torch.optim.Optimizer:
        """``torch.optim.SGD``."""
        own = self.momentum if self.momentum is not None else momentum
        chosen = self.model_copy(update={"momentum": own})
        return super(Sgd, chosen).build(parameters, lr=lr, momentum=own)


@optimizers.register
class NAdam(_Coupled):
    """Adam with Nesterov's momentum (Dozat 2016)."""

    path = "NAdam"

    name: Literal["nadam"]
    betas: Betas = (0.9, 0.999)
    eps: Epsilon = 1e-8
    momentum_decay: Amount = 0.004


@optimizers.register
class RAdam(_Coupled):
    """Adam with a rectified step size (Liu et al. 2020)."""

    path = "RAdam"

    name: Literal["radam"]
    betas: Betas = (0.9, 0.999)
    eps: Epsilon = 1e-8


@optimizers.register
class Adamax(_Coupled):
    """Adam with the maximum norm (Kingma & Ba 2015)."""

    path = "Adamax"

    name: Literal["adamax"]
    betas: Betas = (0.9, 0.999)
    eps: Epsilon = 1e-8


@optimizers.register
class RmsProp(_Coupled):
    """Steps by a running mean of squared gradients (Hinton 2012)."""

    path = "RMSprop"

    name: Literal["rmsprop"]
    alpha: Beta = 0.99
    eps: Epsilon = 1e-8
    momentum: Beta = 0.0
    centered: bool = False


@optimizers.register
class Adagrad(_Coupled):
    """Steps by the sum of squared gradients (Duchi et al. 2011)."""

    path = "Adagrad"

    name: Literal["adagrad"]
    lr_decay: Amount = 0.0
    initial_accumulator_value: Amount = 0.0
    eps: Epsilon = 1e-10


@optimizers.register
class Adadelta(_Coupled):
    """Steps by running means of squared gradients and steps (Zeiler 2012); ``lr`` is near 1."""

    path = "Adadelta"

    name: Literal["adadelta"]
    rho: Beta = 0.9
    eps: Epsilon = 1e-6


@optimizers.register
class Adafactor(TorchOptimizer):
    """Adam with factored second moments (Shazeer & Stern 2018)."""

    path = "Adafactor"

    name: Literal["adafactor"]
    beta2_decay: Annotated[float, Field(le=0), Bounds(-1e6, 0)] = -0.8
    eps: tuple[Epsilon | None, Epsilon] = (None, 1e-3)
    d: Annotated[float, Bounds(1, 1e6)] = 1.0


@optimizers.register
class Asgd(_Coupled):
    """Averaged stochastic gradient descent (Polyak & Juditsky 1992)."""

    path = "ASGD"
    fixed: ClassVar[Mapping[str, Any]] = {"weight_decay": 0.0, "lambd": 0.0}

    name: Literal["asgd"]
    alpha: Amount = 0.75
    t0: Amount = 1e6


@optimizers.register
class Rprop(TorchOptimizer):
    """Steps by the signs of gradients, for whole batches (Riedmiller & Braun 1993)."""

    path = "Rprop"
    fixed: ClassVar[Mapping[str, Any]] = {}

    name: Literal["rprop"]
    etas: tuple[Annotated[float, Field(gt=0, lt=1)], Annotated[float, Field(gt=1, le=1e6)]] = (
        0.5,
        1.2,
    )
    step_sizes: tuple[Epsilon, Epsilon] = (1e-6, 50.0)
