"""The splitters that ``split`` in a spec's ``data`` can name."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from trainables.config.imports import ImportPath
from trainables.config.registry import Component, Custom, Registry


class SplitterConfig(Component):
    """A rule by which rows become test, validation and training rows, and its options.

    ``path`` is the import path of its class, ``column`` what it divides by, if anything;
    ``keeps_column`` says whether that column of a table is an input too.
    """

    path: ClassVar[str] = ""

    @property
    def column(self) -> str | None:
        """The name of a column or an array."""
        return None

    @property
    def keeps_column(self) -> bool:
        """Whether the column is an input, too."""
        return False

    @property
    def fold_count(self) -> int | None:
        """The number of folds, if replicates validate on one fold each."""
        return None


class CustomSplitter(SplitterConfig, Custom):
    """A user-defined subclass of `Splitter`; other keys are its arguments."""

    expected = "trainables.data.splitters.base:Splitter"

    name: ImportPath
    by: str | None = Field(None, description="a column of the table, or an array of the NPZ file")
    keep: bool = Field(False, description="whether the column is an input, too")

    @property
    def column(self) -> str | None:
        """The column in the spec."""
        return self.by

    @property
    def keeps_column(self) -> bool:
        """As the spec says."""
        return self.keep


splitters: Registry[SplitterConfig] = Registry(
    "splitter", CustomSplitter, group="splitters", default="stratified"
)


class _InFolds(SplitterConfig):
    folds: int | None = Field(
        None,
        ge=2,
        le=1000,
        description="K: replicates validate on one fold of K each, not on `val`",
    )

    @property
    def fold_count(self) -> int | None:
        """As the spec says."""
        return self.folds


@splitters.register
class StratifiedSplit(_InFolds):
    """Random rows; every class keeps its share of each part. Plain random for a regression."""

    path = "trainables.data.splitters.stratified:Stratified"

    name: Literal["stratified"] = "stratified"


@splitters.register
class DistinctSplit(_InFolds):
    """As stratified, but rows that are equal, inputs and target together, are in one part."""

    path = "trainables.data.splitters.distinct:Distinct"

    name: Literal["distinct"]


class _ByColumn(SplitterConfig):
    by: str = Field(description="a column of the table, or an array of the NPZ file")
    keep: bool = Field(False, description="whether the column is an input, too")

    @property
    def column(self) -> str | None:
        """The column in the spec."""
        return self.by

    @property
    def keeps_column(self) -> bool:
        """As the spec says."""
        return self.keep


@splitters.register
class GroupSplit(_ByColumn, _InFolds):
    """Whole groups, for example all rows of a patient, are in one part."""

    path = "trainables.data.splitters.group:Group"

    name: Literal["group"]


@splitters.register
class TimeSplit(_ByColumn):
    """The last rows are the test, the rows before them validation, earlier ones training.

    Each replicate has an earlier validation window, and trains on the rows before it.
    """

    path = "trainables.data.splitters.rolling_origin:RollingOrigin"

    name: Literal["time"]


if TYPE_CHECKING:
    SplitterChoice = SplitterConfig
else:
    SplitterChoice = splitters.choice()
