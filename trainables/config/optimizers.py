"""The optimisers that a spec can name. None decays weights: that is a penalty."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from search_spaces.bounds import Bounds
from trainables.config.imports import ImportPath
from trainables.config.registry import Component, Custom, Registry

if TYPE_CHECKING:
    import torch
    from torch import nn

Beta = Annotated[float, Field(ge=0, lt=1)]
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
            lr: the initial learning rate; the loop sets that of every epoch.
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


optimizers: Registry[OptimizerConfig] = Registry("optimizer", CustomOptimizer, group="optimizers")


class _Adam(OptimizerConfig):
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    eps: Annotated[float, Field(gt=0), Bounds(0, 1e6)] = 1e-8

    def build(
        self, parameters: Iterable[nn.Parameter], *, lr: float, momentum: float
    ) -> torch.optim.Optimizer:
        """``torch.optim.Adam`` without weight decay."""
        from torch.optim import Adam as Optimizer

        return Optimizer(parameters, lr=lr, betas=self.betas, eps=self.eps, fused=True)


@optimizers.register
class AdamW(_Adam):
    """Adam with L2 decoupled from the gradient (Loshchilov & Hutter 2019)."""

    name: Literal["adamw"] = "adamw"


@optimizers.register
class Adam(_Adam):
    """Adam with L2 in the gradient, as in Kingma & Ba 2015 and ``torch.optim.Adam``."""

    name: Literal["adam"]

    @property
    def l2_update(self) -> L2Update:
        """``coupled``."""
        return "coupled"


@optimizers.register
class Sgd(OptimizerConfig):
    """Stochastic gradient descent; ``momentum`` defaults to ``training.momentum``."""

    name: Literal["sgd"]
    momentum: float | None = Field(None, ge=0, lt=1)
    nesterov: bool = False

    def build(
        self, parameters: Iterable[nn.Parameter], *, lr: float, momentum: float
    ) -> torch.optim.Optimizer:
        """``torch.optim.SGD``."""
        from torch.optim import SGD

        own: dict[str, Any] = {"nesterov": True} if self.nesterov else {}
        own["momentum"] = momentum if self.momentum is None else self.momentum
        return SGD(parameters, lr=lr, fused=True, **own)
