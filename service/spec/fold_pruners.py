"""The rules that ``search.fold_pruner`` in a spec can name: which trials lose their last folds.

Optuna is imported when a rule is built, not when a spec is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from search_spaces.bounds import Bounds
from trainables.config.imports import ImportPath
from trainables.config.registry import Component, Custom, Registry

if TYPE_CHECKING:
    from optuna.pruners import BasePruner


class FoldPrunerConfig(Component):
    """A rule and its options. A subclass defines :meth:`build`."""

    def build(self, folds: int) -> BasePruner:
        """A new Optuna pruner, for trials of so many folds.

        A step is a fold, from 1; its value is the objective at the kept weights of the fold.

        Raises:
            ContractError: a user-defined class cannot be imported or does not accept an option.
        """
        raise NotImplementedError


class CustomFoldPruner(FoldPrunerConfig, Custom):
    """A user-defined subclass of `optuna.pruners.BasePruner`, whose steps are folds."""

    expected = "optuna.pruners:BasePruner"

    name: ImportPath

    def build(self, folds: int) -> BasePruner:
        """``Class(**options)``, with ``folds`` if it accepts it."""
        made: BasePruner = self.create(folds=folds)
        return made


fold_pruners: Registry[FoldPrunerConfig] = Registry(
    "rule for folds", CustomFoldPruner, group="fold_pruners"
)


@fold_pruners.register
class Forgiving(FoldPrunerConfig):
    """Drops a trial whose mean so far is worse than the worst fold of the best trial."""

    name: Literal["forgiving"] = "forgiving"

    def build(self, folds: int) -> BasePruner:
        """The rule of Bergman et al."""
        from service.spec.fold_rules import ForgivingPruner

        return ForgivingPruner()


@fold_pruners.register
class Aggressive(FoldPrunerConfig):
    """Drops a trial whose mean so far is worse than the best trial's over all folds."""

    name: Literal["aggressive"]

    def build(self, folds: int) -> BasePruner:
        """The rule of Bergman et al."""
        from service.spec.fold_rules import AggressivePruner

        return AggressivePruner()


@fold_pruners.register
class Paired(FoldPrunerConfig):
    """Drops a trial whose mean so far is worse than the best trial's over the same folds."""

    name: Literal["paired"]

    def build(self, folds: int) -> BasePruner:
        """The aggressive rule, without what makes a fold hard for every trial."""
        from service.spec.fold_rules import PairedPruner

        return PairedPruner()


@fold_pruners.register
class WilcoxonOfFolds(FoldPrunerConfig):
    """Drops a trial that is worse than the best one by a signed-rank test over its folds.

    With 5 folds it can drop the last one only, with 10 the last six, where every fold is worse.
    """

    name: Literal["wilcoxon"]
    p_threshold: float = Field(0.1, ge=0, le=1)
    startup_folds: Annotated[int, Bounds(0, 100)] = 2

    def build(self, folds: int) -> BasePruner:
        """Optuna's pruner."""
        from optuna.pruners import WilcoxonPruner

        return WilcoxonPruner(p_threshold=self.p_threshold, n_startup_steps=self.startup_folds)


@fold_pruners.register
class NoFoldPruner(FoldPrunerConfig):
    """Trains every trial on all folds."""

    name: Literal["none"]

    def build(self, folds: int) -> BasePruner:
        """Optuna's pruner."""
        from optuna.pruners import NopPruner

        return NopPruner()


if TYPE_CHECKING:
    FoldPrunerChoice = FoldPrunerConfig
else:
    FoldPrunerChoice = fold_pruners.choice()
