"""The samplers that a spec's ``search.sampler`` can name, and Optuna's that each stands for.

Optuna is imported where a sampler is built, not where a spec is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from trainables.config.imports import ImportPath
from trainables.config.registry import Component, Custom, Registry

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


class SamplerConfig(Component):
    """A sampler and its options. A subclass defines :meth:`build`."""

    def build(self, seed: int) -> BaseSampler:
        """A new sampler of Optuna's; equal seeds and trials give equal suggestions.

        Raises:
            ContractError: a user's class cannot be imported or does not take an option.
        """
        raise NotImplementedError


class CustomSampler(SamplerConfig, Custom):
    """A subclass of `optuna.samplers.BaseSampler` of yours."""

    name: ImportPath

    def build(self, seed: int) -> BaseSampler:
        """``Class(**options)``, with ``seed`` if it names it."""
        made: BaseSampler = self.create(seed=seed)
        return made


samplers: Registry[SamplerConfig] = Registry("sampler", CustomSampler, group="samplers")


@samplers.register
class Tpe(SamplerConfig):
    """Tree-structured Parzen estimator, jointly over the parameters that occur together."""

    name: Literal["tpe"] = "tpe"
    n_startup_trials: int = Field(10, ge=0, description="random trials first")
    n_ei_candidates: int = Field(24, ge=1)
    multivariate: bool = True

    def build(self, seed: int) -> BaseSampler:
        """Optuna's own; groups model conditional parameters jointly."""
        from optuna.samplers import TPESampler

        return TPESampler(
            seed=seed,
            n_startup_trials=self.n_startup_trials,
            n_ei_candidates=self.n_ei_candidates,
            multivariate=self.multivariate,
            group=self.multivariate,
        )


@samplers.register
class Random(SamplerConfig):
    """Independent uniform draws."""

    name: Literal["random"]

    def build(self, seed: int) -> BaseSampler:
        """Optuna's own."""
        from optuna.samplers import RandomSampler

        return RandomSampler(seed=seed)


@samplers.register
class Grid(SamplerConfig):
    """Every combination once, ``search.grid_points`` values a range; the study queues them."""

    name: Literal["grid"]

    def build(self, seed: int) -> BaseSampler:
        """Random: the grid's points are queued before it is asked."""
        from optuna.samplers import RandomSampler

        return RandomSampler(seed=seed)


@samplers.register
class Gp(SamplerConfig):
    """A Gaussian process with expected improvement."""

    name: Literal["gp"]
    n_startup_trials: int = Field(10, ge=0, description="random trials first")
    deterministic_objective: bool = False

    def build(self, seed: int) -> BaseSampler:
        """Optuna's own."""
        from optuna.samplers import GPSampler

        return GPSampler(
            seed=seed,
            n_startup_trials=self.n_startup_trials,
            deterministic_objective=self.deterministic_objective,
            warn_independent_sampling=False,
        )


@samplers.register
class CmaEs(SamplerConfig):
    """Covariance matrix adaptation."""

    name: Literal["cmaes"]
    n_startup_trials: int = Field(1, ge=0, description="random trials first")

    def build(self, seed: int) -> BaseSampler:
        """Optuna's own."""
        from optuna.samplers import CmaEsSampler

        return CmaEsSampler(
            seed=seed, n_startup_trials=self.n_startup_trials, warn_independent_sampling=False
        )


@samplers.register
class Qmc(SamplerConfig):
    """A quasi-Monte Carlo sequence."""

    name: Literal["qmc"]
    qmc_type: Literal["sobol", "halton"] = "sobol"
    scramble: bool = True

    def build(self, seed: int) -> BaseSampler:
        """Optuna's own."""
        from optuna.samplers import QMCSampler

        return QMCSampler(
            seed=seed,
            qmc_type=self.qmc_type,
            scramble=self.scramble,
            warn_asynchronous_seeding=False,
            warn_independent_sampling=False,
        )


@samplers.register
class OptunaHub(SamplerConfig):
    """A sampler of OptunaHub, ``pip install 'gapsweep[optunahub]'``.

    ``package`` is its path in the hub, for example ``samplers/auto_sampler``. ``registry_root`` is
    the folder ``package`` of a local copy of the hub, to load from it instead of downloading.
    """

    loads: ClassVar[tuple[str, ...]] = ("optunahub:load_module",)

    name: Literal["optunahub"]
    package: str
    sampler: str = Field(description="the class in the package, for example AutoSampler")
    registry_root: str | None = None
    options: dict[str, Any] = Field(default_factory=dict, description="the class's arguments")

    def build(self, seed: int) -> BaseSampler:
        """The hub's class, with ``seed`` if it takes it.

        Raises:
            ContractError: optunahub is missing, or the hub has no such package or class.
        """
        from service.spec.optunahub import load_sampler

        made: BaseSampler = load_sampler(self, seed)
        return made


if TYPE_CHECKING:
    SamplerChoice = SamplerConfig
else:
    SamplerChoice = samplers.choice()
