"""Encodes raw inputs and targets as splits; all scaling is fitted on the training split."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainables.config.data_info import DataInfo, Kind, Task
from trainables.data.nests import Nest, map_nest
from trainables.data.preprocessing import Column, Preprocessing
from trainables.data.raw import Array, Raw
from trainables.data.splits import Split, Splits, find_shape
from trainables.data.tasks import doubt_classes, guess_task
from trainables.errors import DataError

CHANNELS = 4
"""An array with more on the axis of channels is no image."""
_MANY = 1000
_LOOKED_AT = 10_000
"""Samples that are looked at for what float32 would lose."""
_STEPS = 10
"""Steps of float32 that the deviation of numbers has at least."""

if TYPE_CHECKING:
    from sklearn.compose import ColumnTransformer


def prepare(raw: Mapping[str, Raw], task: Task | None, *, keep_numbers: bool = False) -> Splits:
    """Splits of ``train``, ``val`` and, if given, ``test``.

    Numeric columns of a table and regression targets are standardised, other columns are one-hot
    encoded, classes are numbered, all fitted on the training split only. Images of bytes are
    divided by 255. With ``keep_numbers`` arrays stay as they are, see :func:`keep`.

    Raises:
        DataError: a value is missing, shapes differ, or the training split lacks a class.
    """
    task = task or guess_task(raw["train"].y)
    if keep_numbers:
        return keep(raw, task)
    inputs, first = _encode_inputs({name: r.x for name, r in raw.items()})
    targets, outputs, last = _encode_targets({name: r.y for name, r in raw.items()}, task)
    shape = inputs["train"].shape[1:]
    kind = Kind.IMAGE if len(shape) == 3 else Kind.TABLE
    made = {name: Split(inputs[name], targets[name]) for name in raw}
    return Splits(
        made["train"],
        made["val"],
        made.get("test"),
        DataInfo(shape, task, outputs, kind),
        replace(
            first,
            classes=last.classes,
            target_mean=last.target_mean,
            target_scale=last.target_scale,
        ),
    )


def keep(raw: Mapping[str, Raw], task: Task) -> Splits:
    """Splits of arrays as a user's function gave them; only tables are encoded.

    Floating-point numbers become float32, which networks compute in, other numbers int64; classes
    that are no numbers are numbered. Shapes and values stay.

    Raises:
        DataError: as :func:`prepare`.
    """
    train = raw["train"]
    if isinstance(train.x, pd.DataFrame):
        inputs, first = _encode_tables({n: r.x for n, r in raw.items()})
    else:
        inputs = {n: map_nest(_keep_array, r.x) for n, r in raw.items()}
        first = Preprocessing()
    targets, outputs, classes = _keep_targets({n: r.y for n, r in raw.items()}, task)
    made = {n: Split(inputs[n], targets[n]) for n in raw}
    x = inputs["train"]
    info = DataInfo(find_shape(x), task, outputs, find_kind(x))
    preprocessing = replace(first, classes=classes)
    return Splits(made["train"], made["val"], made.get("test"), info, preprocessing)


def _keep_targets(
    raw: Mapping[str, Nest], task: Task
) -> tuple[Mapping[str, Nest], int, tuple[Any, ...]]:
    """Targets, the number of outputs, and the names of classes."""
    train = raw["train"]
    if task is Task.OTHER or not isinstance(train, np.ndarray):
        return {n: map_nest(_keep_target, y) for n, y in raw.items()}, 0, ()
    if task is Task.MULTILABEL:
        labels = _encode_labels(raw)
        return labels, labels["train"].shape[1], ()
    if task is Task.REGRESSION:
        for y in raw.values():
            _refuse_lost(y)
        return {n: _to_floats(n, y) for n, y in raw.items()}, int(np.prod(train.shape[1:])) or 1, ()
    if not np.issubdtype(train.dtype, np.number):
        made, count, found = _encode_classes({n: _flatten_column(n, y) for n, y in raw.items()})
        return made, count, found.classes
    kept = {n: _keep_classes(n, y) for n, y in raw.items()}
    count = max(2, *(int(y.max(initial=0)) + 1 for y in kept.values()))
    if train.size > len(train):
        return kept, count, ()
    _refuse_unseen(kept)
    _refuse_sparse(kept["train"], count)
    return kept, count, tuple(range(count))


def _keep_classes(name: str, y: Array) -> Array:
    """Whole numbers as int64, but for floats of only 0 and 1, which a loss of one logit takes.

    Raises:
        DataError: one is no whole number.
    """
    kept = _keep_target(y)
    if not np.issubdtype(kept.dtype, np.floating) or np.isin(kept, (0, 1)).all():
        return kept
    wrong = ~np.isfinite(kept) | (kept % 1 != 0)
    if wrong.any():
        row = int(wrong.reshape(len(kept), -1).any(axis=1).argmax())
        raise DataError(f"{name}, row {row}: the target is {kept[row]}; classes are whole numbers")
    return kept.astype(np.int64)


def _refuse_sparse(classes: Array, count: int) -> None:
    """Refuse numbers that are hardly classes, for which a network would have far too many outputs.

    Raises:
        DataError: most numbers up to the largest one are no class of any sample.
    """
    used = len(np.unique(classes))
    if count > _MANY and used * 10 < count:
        raise DataError(
            f"the targets are {used} different whole numbers up to {count - 1}: if they are "
            "classes, number them from 0; if they are values to predict, set `task: regression`"
        )


def _keep_array(values: Array) -> Array:
    """Floats as float32, other numbers as they are, but for int64 in place of smaller integers.

    Bytes stay bytes, which are images most often, and masks of booleans stay masks.

    Raises:
        DataError: they are no numbers.
    """
    return values if values.dtype in (np.uint8, np.bool_) else _keep_target(values)


def _keep_target(values: Array) -> Array:
    if np.issubdtype(values.dtype, np.floating):
        _refuse_lost(values)
        return np.ascontiguousarray(values, dtype=np.float32)
    if np.issubdtype(values.dtype, np.integer) or values.dtype == np.bool_:
        return np.ascontiguousarray(values, dtype=np.int64)
    raise DataError(
        f"arrays must be of numbers, not of {values.dtype}; a table with text may be a pandas "
        "DataFrame, whose columns are encoded"
    )


def _refuse_lost(values: Array) -> None:
    """Refuse numbers whose differences float32 does not keep, such as seconds since 1970.

    Raises:
        DataError: the steps of float32 at these numbers are as large as their deviation.
    """
    if values.dtype.kind not in "iuf" or values.dtype.itemsize < np.dtype(np.float64).itemsize:
        return
    some = values[:_LOOKED_AT]
    numbers = np.asarray(some, dtype=np.float64).reshape(len(some), -1)
    with np.errstate(invalid="ignore", over="ignore"):
        steps = np.spacing(np.abs(numbers).max(axis=0, initial=0).astype(np.float32))
        deviation = numbers.std(axis=0) if len(numbers) else np.zeros(0)
        lost = (deviation > 0) & (steps > deviation / _STEPS)
    if lost.any():
        column = numbers[:, int(lost.argmax())]
        different, left = (len(np.unique(column.astype(t))) for t in (np.float64, np.float32))
        raise DataError(
            f"float32, in which networks compute, keeps {left} of {different} different numbers, "
            f"such as {column[0]:.10g}; subtract their mean, and divide by their deviation"
        )


def find_kind(x: Nest) -> Kind:
    """The kind of inputs: images and tables are one array of floats."""
    if not (isinstance(x, np.ndarray) and np.issubdtype(x.dtype, np.floating)):
        return Kind.OTHER
    if x.ndim == 4 and x.shape[1] <= CHANNELS:
        return Kind.IMAGE
    return Kind.TABLE if x.ndim == 2 else Kind.OTHER


def _encode_inputs(
    raw: Mapping[str, pd.DataFrame | Array],
) -> tuple[dict[str, NDArray[np.float32]], Preprocessing]:
    train = raw["train"]
    if isinstance(train, pd.DataFrame):
        return _encode_tables(raw)
    if train.ndim == 2:
        return _encode_tables({name: pd.DataFrame(np.asarray(x)) for name, x in raw.items()})
    arrays = {name: np.asarray(x) for name, x in raw.items()}
    divisors = {name: 255.0 if x.dtype == np.uint8 else 1.0 for name, x in arrays.items()}
    made = {name: _to_pixels(name, x, divisors[name]) for name, x in arrays.items()}
    return made, Preprocessing(divisor=divisors["train"])


def _encode_tables(
    raw: Mapping[str, pd.DataFrame | Array],
) -> tuple[dict[str, NDArray[np.float32]], Preprocessing]:
    from sklearn.compose import ColumnTransformer  # takes a second, not for workers
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    train = raw["train"]
    assert isinstance(train, pd.DataFrame)
    numbers = [c for c in train if pd.api.types.is_numeric_dtype(train[c])]
    words = [c for c in train if c not in numbers]
    doubles = dict.fromkeys((c for c in numbers if train[c].dtype != np.float32), np.float64)
    frames = {n: x.astype(doubles) for n, x in raw.items() if isinstance(x, pd.DataFrame)}
    imputer = SimpleImputer(strategy="median", keep_empty_features=True)
    encoder = ColumnTransformer(
        [
            ("numbers", make_pipeline(imputer, StandardScaler()), numbers),
            ("words", OneHotEncoder(handle_unknown="ignore", sparse_output=False), words),
        ]
    )
    fitted = encoder.fit_transform(frames["train"])
    columns = {**_read_scales(encoder, numbers), **_read_categories(encoder, words)}
    made = {n: fitted if n == "train" else encoder.transform(x) for n, x in frames.items()}
    encoded = {name: x.astype(np.float32) for name, x in made.items()}
    return encoded, Preprocessing(columns=tuple(columns[c] for c in train))


def _read_scales(encoder: ColumnTransformer, names: list[Hashable]) -> dict[Hashable, Column]:
    if not names:
        return {}
    imputer, scaler = (step for _, step in encoder.named_transformers_["numbers"].steps)
    fitted = zip(names, scaler.mean_, scaler.scale_, imputer.statistics_, strict=True)
    return {n: Column(str(n), float(m), float(s), float(fill)) for n, m, s, fill in fitted}


def _read_categories(encoder: ColumnTransformer, names: list[Hashable]) -> dict[Hashable, Column]:
    if not names:
        return {}
    found = zip(names, encoder.named_transformers_["words"].categories_, strict=True)
    return {n: Column(str(n), categories=tuple(str(v) for v in values)) for n, values in found}


def _to_pixels(name: str, x: Array, divisor: float) -> NDArray[np.float32]:
    """Images ``(N, H, W)``, ``(N, C, H, W)`` or ``(N, H, W, C)`` as ``(N, C, H, W)``."""
    if x.ndim == 3:
        x = x[:, None]
    if x.ndim != 4:
        raise DataError(f"{name} has inputs of shape {x.shape}; expected (N, features) or images")
    if x.shape[1] > 4 >= x.shape[3]:
        x = np.moveaxis(x, 3, 1)
    return np.ascontiguousarray(x, dtype=np.float32) / np.float32(divisor)


def _to_floats(name: str, values: Array) -> NDArray[np.float32]:
    return _to_doubles(name, values).astype(np.float32)


def _to_doubles(name: str, values: Array) -> NDArray[np.float64]:
    """In float64, in which large numbers with small differences are scaled."""
    try:
        return np.ascontiguousarray(values, dtype=np.float64)
    except ValueError as error:
        raise DataError(f"{name} must be numbers: {error}") from None


def _encode_targets(
    raw: Mapping[str, Array], task: Task
) -> tuple[dict[str, NDArray[np.int64]] | dict[str, NDArray[np.float32]], int, Preprocessing]:
    match task:
        case Task.CLASSIFICATION:
            return _encode_classes({n: _flatten_column(n, y) for n, y in raw.items()})
        case Task.MULTILABEL:
            labels = _encode_labels(raw)
            return labels, labels["train"].shape[1], Preprocessing()
        case Task.REGRESSION:
            return _standardise({n: _to_doubles(n, y.reshape(len(y), -1)) for n, y in raw.items()})
        case Task.OTHER:
            raise DataError("`task: other` is for data functions, whose targets stay as they are")


def _flatten_column(name: str, y: Array) -> Array:
    if y.size != len(y):
        raise DataError(
            f"{name} has targets of shape {y.shape}; give one class per sample, several labels of "
            "0 or 1, or floats for regression"
        )
    return y.reshape(len(y))


def _encode_labels(raw: Mapping[str, Array]) -> dict[str, NDArray[np.float32]]:
    made = {n: _to_floats(n, y.reshape(len(y), -1)) for n, y in raw.items()}
    for name, y in made.items():
        strange = ~np.isin(y, (0, 1)).all(axis=1)
        if strange.any():
            raise DataError(f"{name}, row {int(strange.argmax())}: a label is neither 0 nor 1")
    constant = np.ptp(made["train"], axis=0) == 0
    if constant.any():
        raise DataError(f"label {int(constant.argmax())} is constant in the training split")
    return made


def _encode_classes(
    raw: Mapping[str, Array],
) -> tuple[dict[str, NDArray[np.int64]], int, Preprocessing]:
    for name, y in raw.items():
        gaps = pd.isna(y)
        if gaps.any():
            raise DataError(f"{name}, row {int(gaps.argmax())}: the target is missing")
    if all(y.dtype.kind == "f" and (np.mod(y, 1) == 0).all() for y in raw.values()):
        raw = {name: y.astype(np.int64) for name, y in raw.items()}
    classes = np.unique(raw["train"])
    _refuse_unseen(raw)
    numbered = {n: np.searchsorted(classes, y).astype(np.int64) for n, y in raw.items()}
    return numbered, len(classes), Preprocessing(classes=tuple(classes.tolist()))


def _refuse_unseen(raw: Mapping[str, Array]) -> None:
    classes = np.unique(raw["train"])
    for name, y in raw.items():
        unseen = np.setdiff1d(y, classes)
        if len(unseen):
            words = ", ".join(str(u) for u in unseen[:5])
            raise DataError(
                f"{name} has classes that the training split lacks: {words}{doubt_classes(classes)}"
            )


def _standardise(
    raw: Mapping[str, NDArray[np.float64]],
) -> tuple[dict[str, NDArray[np.float32]], int, Preprocessing]:
    train = raw["train"]
    mean, deviation = train.mean(0), train.std(0)
    scale = np.where(deviation > 0, deviation, 1.0)
    made = {n: ((y - mean) / scale).astype(np.float32) for n, y in raw.items()}
    fitted = Preprocessing(target_mean=tuple(mean.tolist()), target_scale=tuple(scale.tolist()))
    return made, len(mean), fitted
