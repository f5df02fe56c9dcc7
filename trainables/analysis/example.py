"""Some raw inputs and the network's outputs for them, as arrays in one file beside an export."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from trainables.data.nests import Nest

ROWS = 5
Named = Mapping[str, np.ndarray[Any, Any]]


def save_example(path: Path, raw: Nest, outputs: Any) -> None:
    """Write the first :data:`ROWS` samples; text of a table is kept apart from what is missing."""
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    if isinstance(raw, pd.DataFrame):
        for name in raw.columns:
            column = raw[name].iloc[:ROWS]
            missing = np.asarray(column.isna())
            if not pd.api.types.is_numeric_dtype(column):
                arrays[f"missing/{name}"] = missing
                texts = column.where(~missing, "").astype(str).tolist()
                arrays[f"column/{name}"] = np.array(texts, dtype=np.str_)
            else:
                arrays[f"column/{name}"] = column.to_numpy()
    else:
        arrays |= {f"input/{name}": values[:ROWS] for name, values in flatten(raw, "input")}
    for name, values in flatten(outputs, "output"):
        arrays[f"output/{name}"] = values[:ROWS] if values.ndim else values
    np.savez(path, **arrays)  # type: ignore[arg-type]  # its stub takes no mapping of arrays


def load_example(path: Path) -> tuple[Any, Any]:
    """Inputs and outputs: a table, an array, or arrays by name without nesting.

    Raises:
        OSError, ValueError: the file cannot be read.
    """
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    columns = {
        name.removeprefix("column/"): _fill(values, arrays.get(f"missing/{name[7:]}"))
        for name, values in arrays.items()
        if name.startswith("column/")
    }
    inputs = pd.DataFrame(columns) if columns else _take(arrays, "input/")
    return inputs, _take(arrays, "output/")


def flatten(nest: Any, word: str, prefix: str = "") -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """The arrays of a nest by name: ``a.b`` in named parts, ``input_0`` in a tuple.

    A single array has the name ``""``; labels are left out.
    """
    if isinstance(nest, Mapping):
        parts = [(str(name), part) for name, part in nest.items() if name != "labels"]
    elif isinstance(nest, tuple | list):
        parts = [(f"{word}_{place}", part) for place, part in enumerate(nest)]
    else:
        yield prefix, nest.detach().cpu().numpy() if isinstance(nest, Tensor) else np.asarray(nest)
        return
    for name, part in parts:
        yield from flatten(part, word, f"{prefix}.{name}" if prefix else name)


def _take(arrays: Named, prefix: str) -> Any:
    found = {n.removeprefix(prefix): v for n, v in arrays.items() if n.startswith(prefix)}
    return found[""] if list(found) == [""] else found


def _fill(values: np.ndarray[Any, Any], missing: np.ndarray[Any, Any] | None) -> Any:
    if missing is None:
        return values
    pairs = zip(values.tolist(), missing.tolist(), strict=True)
    return [None if is_missing else value for value, is_missing in pairs]
