"""Encodes raw inputs and targets as splits; all scaling is fitted on the training split."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainables.config.data_info import DataInfo, Kind, Task
from trainables.data.preprocessing import Column, Preprocessing
from trainables.data.raw import Array, Raw
from trainables.data.splits import Split, Splits
from trainables.errors import DataError

if TYPE_CHECKING:
    from sklearn.compose import ColumnTransformer


def guess_task(y: Array) -> Task:
    """Floats mean regression; strings, booleans and integers mean classification.

    Several columns of booleans or of 0 and 1 mean multi-label classification.
    """
    if np.issubdtype(y.dtype, np.floating):
        return Task.REGRESSION
    if y.ndim == 2 and y.shape[1] > 1:
        return Task.MULTILABEL if set(np.unique(y)) <= {0, 1} else Task.REGRESSION
    return Task.CLASSIFICATION


def prepare(raw: Mapping[str, Raw], task: Task | None, *, keep_numbers: bool = False) -> Splits:
    """Splits of ``train``, ``val`` and, if given, ``test``.

    Numeric columns of a table and regression targets are standardised, other columns are one-hot
    encoded, classes are numbered, all fitted on the training split only. Images of bytes are
    divided by 255. With ``keep_numbers`` all other numbers stay as they are.

    Raises:
        DataError: a value is missing, shapes differ, or the training split lacks a class.
    """
    task = task or guess_task(raw["train"].y)
    inputs, first = _encode_inputs({name: r.x for name, r in raw.items()}, keep_numbers)
    targets, outputs, last = _encode_targets(
        {name: r.y for name, r in raw.items()}, task, keep_numbers
    )
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


def _encode_inputs(
    raw: Mapping[str, pd.DataFrame | Array], keep_numbers: bool
) -> tuple[dict[str, NDArray[np.float32]], Preprocessing]:
    train = raw["train"]
    if isinstance(train, pd.DataFrame):
        return _encode_tables(raw)
    if train.ndim == 2 and keep_numbers:
        return {n: _to_floats(n, np.asarray(x)) for n, x in raw.items()}, Preprocessing()
    if train.ndim == 2:
        return _encode_tables({name: pd.DataFrame(np.asarray(x)) for name, x in raw.items()})
    divisor = 255.0 if train.dtype == np.uint8 else 1.0
    return (
        {name: _to_pixels(name, np.asarray(x), divisor) for name, x in raw.items()},
        Preprocessing(divisor=divisor),
    )


def _encode_tables(
    raw: Mapping[str, pd.DataFrame | Array],
) -> tuple[dict[str, NDArray[np.float32]], Preprocessing]:
    from sklearn.compose import ColumnTransformer  # takes a second, not for workers
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    frames = {name: x for name, x in raw.items() if isinstance(x, pd.DataFrame)}
    for name, frame in frames.items():
        _refuse_missing(name, frame)
    train = frames["train"]
    numbers = [c for c in train if pd.api.types.is_numeric_dtype(train[c])]
    words = [c for c in train if c not in numbers]
    encoder = ColumnTransformer(
        [
            ("numbers", StandardScaler(), numbers),
            ("words", OneHotEncoder(handle_unknown="ignore", sparse_output=False), words),
        ]
    ).fit(train)
    columns = {**_read_scales(encoder, numbers), **_read_categories(encoder, words)}
    made = {name: encoder.transform(f).astype(np.float32) for name, f in frames.items()}
    return made, Preprocessing(columns=tuple(columns[c] for c in train))


def _read_scales(encoder: ColumnTransformer, names: list[Hashable]) -> dict[Hashable, Column]:
    if not names:
        return {}
    scaler = encoder.named_transformers_["numbers"]
    fitted = zip(names, scaler.mean_, scaler.scale_, strict=True)
    return {n: Column(str(n), float(mean), float(scale)) for n, mean, scale in fitted}


def _read_categories(encoder: ColumnTransformer, names: list[Hashable]) -> dict[Hashable, Column]:
    if not names:
        return {}
    found = zip(names, encoder.named_transformers_["words"].categories_, strict=True)
    return {n: Column(str(n), categories=tuple(str(v) for v in values)) for n, values in found}


def _refuse_missing(name: str, frame: pd.DataFrame) -> None:
    missing = frame.isna() | frame.isin([np.inf, -np.inf])
    if missing.to_numpy().any():
        row = int(missing.to_numpy().any(axis=1).argmax())
        column = frame.columns[int(missing.iloc[row].to_numpy().argmax())]
        count = int(missing.to_numpy().sum())
        raise DataError(
            f"row {frame.index[row]}, column {column!r} is missing, NaN or infinite ({count} such "
            f"values in {name}); drop or fill them first"
        )


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
    try:
        return np.ascontiguousarray(values, dtype=np.float32)
    except ValueError as error:
        raise DataError(f"{name} must be numbers: {error}") from None


def _encode_targets(
    raw: Mapping[str, Array], task: Task, keep_numbers: bool
) -> tuple[dict[str, NDArray[np.int64]] | dict[str, NDArray[np.float32]], int, Preprocessing]:
    match task:
        case Task.CLASSIFICATION:
            return _encode_classes({n: _flatten_column(n, y) for n, y in raw.items()})
        case Task.MULTILABEL:
            labels = _encode_labels(raw)
            return labels, labels["train"].shape[1], Preprocessing()
        case Task.REGRESSION:
            columns = {n: _to_floats(n, y.reshape(len(y), -1)) for n, y in raw.items()}
            width = columns["train"].shape[1]
            if keep_numbers:
                return columns, width, Preprocessing()
            return _standardise(columns)


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
    classes = np.unique(raw["train"])
    for name, y in raw.items():
        unseen = np.setdiff1d(y, classes)
        if len(unseen):
            words = ", ".join(str(u) for u in unseen[:5])
            raise DataError(f"{name} has classes that the training split lacks: {words}")
    numbered = {n: np.searchsorted(classes, y).astype(np.int64) for n, y in raw.items()}
    return numbered, len(classes), Preprocessing(classes=tuple(classes.tolist()))


def _standardise(
    raw: Mapping[str, NDArray[np.float32]],
) -> tuple[dict[str, NDArray[np.float32]], int, Preprocessing]:
    train = raw["train"].astype(np.float64)
    mean, deviation = train.mean(0), train.std(0)
    scale = np.where(deviation > 0, deviation, 1.0)
    made = {n: ((y - mean) / scale).astype(np.float32) for n, y in raw.items()}
    fitted = Preprocessing(target_mean=tuple(mean.tolist()), target_scale=tuple(scale.tolist()))
    return made, len(mean), fitted
