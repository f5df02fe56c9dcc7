"""Samplers from OptunaHub, whose packages are downloaded or read from a local copy."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from search_spaces.words import did_you_mean
from trainables.errors import ContractError

if TYPE_CHECKING:
    from service.spec.samplers import OptunaHub


def load_sampler(config: OptunaHub, seed: int) -> Any:
    """The sampler of a package of the hub, seeded where it takes a seed.

    Raises:
        ContractError: optunahub is missing, or the package or its class is not there, or the class
            does not take an option.
    """
    found = getattr(_load_package(config), config.sampler, None)
    if not inspect.isclass(found):
        names = getattr(_load_package(config), "__all__", ())
        raise ContractError(
            f"OptunaHub package {config.package} has no class {config.sampler!r}"
            f"{did_you_mean(config.sampler, names)}",
            "search.sampler",
        )
    takes_seed = "seed" in inspect.signature(found).parameters
    try:
        return found(**({"seed": seed} if takes_seed else {}), **config.options)
    except TypeError as error:
        raise ContractError(f"{config.package}: {error}", "search.sampler") from error


def _load_package(config: OptunaHub) -> Any:
    try:
        import optunahub
    except ImportError:
        raise ContractError(
            "optunahub is missing; pip install 'gapsweep[optunahub]'", "search.sampler"
        ) from None
    try:
        if config.registry_root is not None:
            return optunahub.load_local_module(config.package, registry_root=config.registry_root)
        return optunahub.load_module(config.package)
    except Exception as error:  # the hub's client raises whatever its download or import raised
        raise ContractError(
            f"OptunaHub package {config.package!r} cannot be loaded: {error}", "search.sampler"
        ) from error
