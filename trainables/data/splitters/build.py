"""Builds the splitter that a spec names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trainables.config.imports import load_object
from trainables.config.splitters import CustomSplitter, SplitterConfig
from trainables.data.splitters.base import Splitter
from trainables.data.splitters.folds import Folds


@dataclass(frozen=True)
class Rule:
    """A splitter, the column that it divides by, and whether that is an input, too."""

    splitter: Splitter
    column: str | None = None
    keeps_column: bool = False

    @property
    def keeps_equal_together(self) -> bool:
        """Whether equal rows, the column included, are in one part."""
        return self.splitter.by_contents or self.column is not None


def build_rule(config: SplitterConfig) -> Rule:
    """The splitter of a spec.

    Raises:
        ContractError: a user-defined class cannot be imported or does not accept an option.
    """
    if isinstance(config, CustomSplitter):
        splitter: Splitter = config.create()
    else:
        implementation: Any = load_object(config.path)
        splitter = implementation()
    if config.fold_count is not None:
        splitter = Folds(splitter, config.fold_count)
    return Rule(splitter, config.column, config.keeps_column)
