"""Loads a trainable by import path: a subclass of ``Trainable``, or any network."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from torch import nn

from trainables.config.code_policy import TRAINABLE, load_named
from trainables.config.construct import check_options
from trainables.config.data_info import DataInfo
from trainables.config.huggingface import is_instance_of
from trainables.contract import Trainable
from trainables.errors import ContractError, blame

_FROM_DATA = ("input_shape", "outputs")
_HOW = "give it by `model`"
_LIGHTNING = ("training_step", "configure_optimizers")


class ModuleTrainable(Trainable):
    """A user-defined network, from a class or function that does not depend on this package.

    It is called with ``input_shape`` and ``outputs`` if it has arguments of these names.
    """

    def __init__(self, factory: Callable[..., nn.Module], arguments: Mapping[str, Any]) -> None:
        self._factory = factory
        self._arguments = dict(arguments)

    def build(self, info: DataInfo) -> nn.Module:
        """The user's network.

        Raises:
            ContractError: the factory returned something else, or a network that has its own
                training step, which would not be run.
        """
        known = {k: v for k, v in asdict(info).items() if k in _FROM_DATA}
        wanted = {
            k: v for k, v in known.items() if k in inspect.signature(self._factory).parameters
        }
        with blame("trainable", self._factory.__name__):
            network = self._factory(**{**wanted, **self._arguments})
        if not isinstance(network, nn.Module):
            hint = (
                "; to have it train the trials, give the function an argument `trial`, or annotate "
                "it `-> Trainer`"
            )
            raise ContractError(
                f"{self._factory.__name__} returned {type(network).__name__}, not an nn.Module"
                f"{hint if is_instance_of(network, 'Trainer') else ''}"
            )
        if all(callable(getattr(network, name, None)) for name in _LIGHTNING):
            raise ContractError(
                f"{self._factory.__name__} returned {type(network).__name__}, which has "
                f"{' and '.join(_LIGHTNING)}, as modules of Lightning do: name its class as "
                "`trainable`, a subclass of LightningModule, so that they are run"
            )
        return network


def load_trainable(path: str, arguments: Mapping[str, Any]) -> Trainable:
    """The trainable at ``path``, constructed with the spec's ``model`` arguments.

    Raises:
        ContractError: it cannot be imported, violates the contract (the message says how), or
            does not accept an argument.
    """
    found = load_named(path, TRAINABLE, arguments)
    if not callable(found):
        raise ContractError(f"{path} is {type(found).__name__}, not a class or a function")
    if isinstance(found, type) and issubclass(found, Trainable):
        missing = sorted(getattr(found, "__abstractmethods__", ()))
        if missing:
            raise ContractError(f"{path} does not define {', '.join(missing)}")
        check_options(path, found, arguments, {}, _HOW)
        with blame("trainable", path):
            return found(**arguments)
    if isinstance(found, type) and not issubclass(found, nn.Module):
        lacking = [m for m in ("build", "losses", "metrics", "optimizer") if not hasattr(found, m)]
        lacks = f"it lacks {', '.join(lacking)}" if lacking else "it is neither"
        raise ContractError(
            f"{path} must be an nn.Module, a function that returns one, a subclass of "
            f"trainables.contract.Trainable, or a training loop: a function of one argument named "
            f"`trial`; {lacks}"
        )
    check_options(path, found, arguments, dict.fromkeys(_FROM_DATA), _HOW)
    return ModuleTrainable(found, arguments)
