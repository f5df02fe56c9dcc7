"""The samplers that ``search.sampler`` in a spec can name.

Optuna is imported when a sampler is built, not when a spec is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from search_spaces.bounds import Bounds, Trials
from trainables.config.imports import ImportPath
from trainables.config.registry import Component, Custom, Registry

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

ModelledTrials = Annotated[
    int,
    Bounds(100, 100_000),
    Field(description="largest number of finished trials in the model"),
]


class SamplerConfig(Component):
    """A sampler and its options. A subclass defines :meth:`build`."""

    @property
    def shown(self) -> int | None:
        """How many finished trials of a study it is shown at most; None: all of them."""
        return None

    def build(self, seed: int) -> BaseSampler:
        """A new Optuna sampler; equal seeds and trials give equal suggestions.

        Raises:
            ContractError: a user-defined class cannot be imported or does not accept an option.
        """
        raise NotImplementedError

    def prepare(self, sampler: BaseSampler, seed: int) -> BaseSampler:
        """The sampler for one trial, whose seed this is: a new one, which remembers nothing.

        ``sampler`` is what :meth:`build` returned, or this method for another trial.
        """
        return self.build(seed)


class KeptSampler(SamplerConfig):
    """A sampler that goes on existing from trial to trial; each trial seeds its generators."""

    def prepare(self, sampler: BaseSampler, seed: int) -> BaseSampler:
        """The same sampler, with its random generators seeded."""
        from service.spec.reseed import reseed

        reseed(sampler, seed)
        return sampler


class CustomSampler(KeptSampler, Custom):
    """A user-defined subclass of `optuna.samplers.BaseSampler`.

    A resumed sweep asks it for the same trials if all of its state, but for random generators in
    its attributes, is in the study.
    """

    expected = "optuna.samplers:BaseSampler"

    name: ImportPath

    def build(self, seed: int) -> BaseSampler:
        """``Class(**options)``, with ``seed`` if it accepts it."""
        made: BaseSampler = self.create(seed=seed)
        return made


class ModelSampler(SamplerConfig):
    """A sampler whose model takes the longer the more trials it is of."""

    modelled_trials: ModelledTrials = 400

    @property
    def shown(self) -> int | None:
        """As many as it models."""
        return self.modelled_trials


samplers: Registry[SamplerConfig] = Registry("sampler", CustomSampler, group="samplers")


@samplers.register
class Tpe(ModelSampler):
    """Tree-structured Parzen estimator, joint over parameters that occur together."""

    name: Literal["tpe"] = "tpe"
    n_startup_trials: Trials = Field(10, description="random trials before the model")
    n_ei_candidates: Annotated[int, Bounds(1, 10_000)] = 24
    multivariate: bool = True

    def build(self, seed: int) -> BaseSampler:
        """Optuna's sampler; in groups, it models conditional parameters jointly."""
        from optuna.samplers import TPESampler

        from service.spec.tpe import GroupingTpeSampler

        if self.multivariate:
            return GroupingTpeSampler(
                seed=seed,
                n_startup_trials=self.n_startup_trials,
                n_ei_candidates=self.n_ei_candidates,
            )
        return TPESampler(
            seed=seed,
            n_startup_trials=self.n_startup_trials,
            n_ei_candidates=self.n_ei_candidates,
            multivariate=False,
        )


@samplers.register
class Random(SamplerConfig):
    """Independent uniform sampling."""

    name: Literal["random"]

    def build(self, seed: int) -> BaseSampler:
        """Optuna's sampler."""
        from optuna.samplers import RandomSampler

        return RandomSampler(seed=seed)


@samplers.register
class Grid(SamplerConfig):
    """Every combination once, with ``search.grid_points`` values per range."""

    name: Literal["grid"]

    def build(self, seed: int) -> BaseSampler:
        """A random sampler, which is not used: the study enqueues the points of the grid."""
        from optuna.samplers import RandomSampler

        return RandomSampler(seed=seed)


@samplers.register
class Gp(ModelSampler):
    """Gaussian process with expected improvement."""

    name: Literal["gp"]
    n_startup_trials: Trials = Field(10, description="random trials before the model")
    deterministic_objective: bool = False

    def build(self, seed: int) -> BaseSampler:
        """Optuna's sampler."""
        from optuna.samplers import GPSampler

        return GPSampler(
            seed=seed,
            n_startup_trials=self.n_startup_trials,
            deterministic_objective=self.deterministic_objective,
            warn_independent_sampling=False,
        )


@samplers.register
class CmaEs(SamplerConfig):
    """Covariance matrix adaptation evolution strategy."""

    name: Literal["cmaes"]
    n_startup_trials: Trials = Field(1, description="random trials before the model")

    def build(self, seed: int) -> BaseSampler:
        """Optuna's sampler."""
        from optuna.samplers import CmaEsSampler

        return CmaEsSampler(
            seed=seed, n_startup_trials=self.n_startup_trials, warn_independent_sampling=False
        )


@samplers.register
class Qmc(KeptSampler):
    """Quasi-Monte Carlo sequence; a trial gets the point that has its number."""

    name: Literal["qmc"]
    qmc_type: Literal["sobol", "halton"] = "sobol"
    scramble: bool = True

    def build(self, seed: int) -> BaseSampler:
        """Optuna's sampler; the seed scrambles the sequence and is the sweep's, not a trial's."""
        from service.spec.qmc import NumberedQmcSampler

        return NumberedQmcSampler(
            seed=seed,
            qmc_type=self.qmc_type,
            scramble=self.scramble,
            warn_asynchronous_seeding=False,
            warn_independent_sampling=False,
        )


@samplers.register
class OptunaHub(KeptSampler):
    """A sampler of OptunaHub, ``pip install 'gapsweep[optunahub]'``.

    ``package`` is its path in the hub, for example ``samplers/auto_sampler``. ``registry_root`` is
    the folder ``package`` of a local copy of the hub, which is read instead of a download.
    """

    loads: ClassVar[tuple[str, ...]] = ("optunahub:load_module",)

    name: Literal["optunahub"]
    package: str = Field(description="path in the hub, for example samplers/auto_sampler")
    sampler: str = Field(description="class in the package, for example AutoSampler")
    registry_root: str | None = Field(
        None, description="folder `package` of a local copy of the hub; default: download"
    )
    options: dict[str, Any] = Field(default_factory=dict, description="arguments of the class")

    def build(self, seed: int) -> BaseSampler:
        """The class in the hub, with ``seed`` if it accepts it.

        Raises:
            ContractError: optunahub is not installed, or the hub has no such package or class.
        """
        from service.spec.optunahub import load_sampler

        made: BaseSampler = load_sampler(self, seed)
        return made


if TYPE_CHECKING:
    SamplerChoice = SamplerConfig
else:
    SamplerChoice = samplers.choice()
