"""Loads samplers of OptunaHub packages, downloaded or from a local copy."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from search_spaces.unknown_names import did_you_mean
from trainables.config.code_policy import CodePolicy, get_policy
from trainables.errors import ContractError, blame

if TYPE_CHECKING:
    from service.spec.samplers import OptunaHub


def load_sampler(config: OptunaHub, seed: int) -> Any:
    """The sampler of an OptunaHub package, seeded if it accepts a seed.

    Raises:
        ContractError: the process's policy refuses it, optunahub is not installed, the package or
            class does not exist, or the class is no sampler or does not accept an option.
    """
    check_hub(config, get_policy())
    get_policy().check_arguments(config.options)
    from optuna.samplers import BaseSampler

    found = getattr(_load_package(config), config.sampler, None)
    if not inspect.isclass(found):
        names = getattr(_load_package(config), "__all__", ())
        raise ContractError(
            f"OptunaHub package {config.package} has no class {config.sampler!r}"
            f"{did_you_mean(config.sampler, names)}",
            "search.sampler",
        )
    if not issubclass(found, BaseSampler):
        raise ContractError(
            f"{config.sampler} of OptunaHub package {config.package} is not a subclass of "
            "optuna.samplers.BaseSampler",
            "search.sampler",
        )
    takes_seed = "seed" in inspect.signature(found).parameters
    with blame("search.sampler", config.package):
        return found(**({"seed": seed} if takes_seed else {}), **config.options)


def check_hub(config: OptunaHub, policy: CodePolicy) -> None:
    """Check that a policy lets code of the hub be loaded, and of no other place.

    Raises:
        ContractError: it does not.
    """
    policy.check_text("optunahub:load_module")
    if policy.allow and config.registry_root is not None:
        raise ContractError(
            "this server does not allow registry_root, which loads code from a folder",
            "search.sampler",
        )


def _load_package(config: OptunaHub) -> Any:
    try:
        import optunahub
    except ImportError:
        raise ContractError(
            "optunahub is not installed; pip install 'gapsweep[optunahub]'", "search.sampler"
        ) from None
    try:
        if config.registry_root is not None:
            return optunahub.load_local_module(config.package, registry_root=config.registry_root)
        return optunahub.load_module(config.package)
    except Exception as error:  # the client raises any error of its download or import
        raise ContractError(
            f"OptunaHub package {config.package!r} cannot be loaded: {error}", "search.sampler"
        ) from error
