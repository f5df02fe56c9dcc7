"""Reads the splits that a user's data function returned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset

from trainables.config.code_policy import COLLATE, load_named
from trainables.config.data import LoaderOptions
from trainables.data.batch import LABELS
from trainables.data.lazy import (
    LazySplit,
    Loading,
    StreamSplit,
    find_view,
    is_map_style,
    take_apart,
)
from trainables.data.nests import Inputs, Nest, list_leaves
from trainables.data.raw import SPLIT_NAMES, Array, Raw
from trainables.data.reading import describe
from trainables.errors import ContractError, blame

_VALID = (
    "a pair (inputs, targets) of tensors, arrays, or tuples and dicts of them, a tuple of inputs "
    "and, last, the targets, a dict of tensors with `labels`, or a torch.utils.data Dataset, "
    "IterableDataset or DataLoader"
)
_PAIR = 2
VIEW = "train_eval"
"""The name of training samples without the transforms of a training."""
_ORDERS = {2: ("train", "val"), 3: ("train", VIEW, "val")}

Part = Raw | LazySplit | StreamSplit
"""A split as arrays, or as what is read while it is needed."""


def read_parts(path: str, made: object, options: LoaderOptions) -> dict[str, Part]:
    """The splits ``train``, ``val`` and maybe ``test`` that the function ``path`` returned.

    Raises:
        ContractError: it returned something else.
    """
    loading = _build_loading(options)
    named = _name_parts(path, made)
    for name in named:
        if name not in (*SPLIT_NAMES, VIEW):
            raise ContractError(
                f"{path} returned a split {name!r}; valid: train, val, test, {VIEW}"
            )
    for name in ("train", "val"):
        if named.get(name) is None:
            raise ContractError(f"{path} returned no {name!r}; it returned {', '.join(named)}")
    view = named.pop(VIEW, None)
    read = {n: _read_part(path, n, part, loading) for n, part in named.items() if part is not None}
    return read if view is None else {**read, "train": _give_view(path, read["train"], view)}


def _name_parts(path: str, made: object) -> dict[str, Any]:
    """What a function returned by name: a mapping, or two or three splits in a tuple."""
    if isinstance(made, Mapping):
        return {str(name): part for name, part in made.items()}
    if isinstance(made, tuple) and len(made) in _ORDERS:
        return dict(zip(_ORDERS[len(made)], made, strict=True))
    raise ContractError(
        f"{path} returned {describe(made)}; return a dict of train, val and maybe test and {VIEW}, "
        f"a tuple (train, val) or (train, {VIEW}, val), or a list of dicts, one for each fold"
    )


def _read_part(path: str, name: str, split: Any, loading: Loading) -> Part:
    """A split as arrays, or as what is read while it is needed.

    Raises:
        ContractError: it is something else.
    """
    with blame("data", f"{path}: reading {name!r}"):
        arrays = _find_tensors(split)
        if arrays is not None:
            split = arrays
        what = f"{path}: {name!r}"
        if isinstance(split, Mapping) and LABELS in split:
            return _check_raw(Raw(_to_arrays(split, what), _to_arrays(split[LABELS], what)), what)
        if isinstance(split, tuple) and len(split) > _PAIR:
            split = Inputs(split[:-1]), split[-1]
        if isinstance(split, tuple | list) and len(split) == _PAIR:
            x, y = split
            table = _find_table(x)
            x = _to_arrays(x, what) if table is None else table
            return _check_raw(Raw(x, _to_arrays(y, what)), what)
        if isinstance(split, DataLoader):
            return _read_loader(path, name, split)
        if isinstance(split, IterableDataset):
            return StreamSplit(name, path, split, loading)
        if is_map_style(split):
            return _make_lazy(path, name, split, loading)
    raise ContractError(f"{path}: {name!r} is {describe(split)}; it must be {_VALID}")


def _find_tensors(split: Any) -> tuple[Any, ...] | None:
    """The tensors of a ``TensorDataset``, or of a part of one."""
    if type(split) is TensorDataset:
        return split.tensors
    if type(split) is Subset and type(split.dataset) is TensorDataset:
        return tuple(t[torch.as_tensor(list(split.indices))] for t in split.dataset.tensors)
    return None


def _read_loader(path: str, name: str, loader: DataLoader[Any]) -> Part:
    parts = take_apart(loader)
    if parts is None:
        return StreamSplit(name, path, loader, Loading(batch_size=loader.batch_size))
    dataset, loading = parts
    return _make_lazy(path, name, dataset, loading)


def _make_lazy(path: str, name: str, dataset: Any, loading: Loading) -> LazySplit:
    if not len(dataset):
        raise ContractError(f"{path}: {name!r} is empty")
    return LazySplit(name, path, dataset, loading, find_view(dataset))


def _give_view(path: str, train: Part, view: Any) -> Part:
    dataset: Any = view.dataset if isinstance(view, DataLoader) else view
    if not isinstance(train, LazySplit) or not is_map_style(dataset):
        raise ContractError(f"{path}: {VIEW!r} must be a Dataset, beside a train that is one")
    if len(dataset) != len(train):
        raise ContractError(
            f"{path}: {VIEW!r} has {len(dataset)} samples and train {len(train)}; it must have the "
            "same samples in the same order, without the transforms of a training"
        )
    return replace(train, view=dataset)


def _build_loading(options: LoaderOptions) -> Loading:
    """How samples become batches by the spec.

    Raises:
        ContractError: the function that makes a batch cannot be imported or called.
    """
    if options.collate is None:
        return Loading(workers=options.workers)
    found = load_named(options.collate, COLLATE)
    if not callable(found):
        raise ContractError(f"{options.collate} is {type(found).__name__}, not a function")
    return Loading(found, workers=options.workers)


def _find_table(values: Any) -> pd.DataFrame | None:
    """A table of pandas, or of a library whose tables have ``to_pandas`` (Arrow, polars)."""
    made = values.to_pandas() if hasattr(values, "to_pandas") else values
    return made if isinstance(made, pd.DataFrame) else None


def _to_arrays(values: Any, what: str) -> Nest:
    """A nest of tensors, arrays or numbers as one of arrays; a list of numbers is an array.

    Raises:
        ContractError: ``what`` has an array that is sparse, or masked in places.
    """
    if isinstance(values, Mapping):
        return {str(name): _to_arrays(value, what) for name, value in values.items()}
    if isinstance(values, tuple):
        kind = Inputs if isinstance(values, Inputs) else tuple
        return kind(_to_arrays(value, what) for value in values)
    if is_dataclass(values) and not isinstance(values, type):
        return {f.name: _to_arrays(getattr(values, f.name), what) for f in fields(values)}
    return _to_array(values, what)


def _to_array(values: Any, what: str) -> Array:
    if hasattr(values, "toarray") or getattr(values, "layout", torch.strided) != torch.strided:
        dense = "toarray" if hasattr(values, "toarray") else "to_dense"
        raise ContractError(f"{what} has {describe(values)}, which is sparse; use its {dense}()")
    masked = int(np.ma.getmaskarray(values).sum()) if isinstance(values, np.ma.MaskedArray) else 0
    if masked:
        raise ContractError(
            f"{what} has an array with {masked:,} masked values; fill them, with its filled(…), or "
            "leave out these samples"
        )
    if isinstance(values, torch.Tensor):
        tensor = values.detach().cpu()
        values = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    array: Array = np.asarray(values)
    if array.dtype == object and array.size and all(isinstance(v, Real) for v in array.flat):
        return np.array(array.tolist())
    return array


def _check_raw(raw: Raw, what: str) -> Raw:
    """Arrays of a split, if they have samples.

    Raises:
        ContractError: they have none, or are not of numbers or texts.
    """
    leaves = [*list_leaves(raw.y), *([] if isinstance(raw.x, pd.DataFrame) else list_leaves(raw.x))]
    for leaf in leaves:
        if not leaf.ndim:
            value = describe(leaf.item()) if leaf.dtype == object else leaf
            raise ContractError(f"{what} has one value, {value}, in place of one for each sample")
        if not len(leaf):
            raise ContractError(f"{what} is empty")
        if leaf.dtype == object and not all(isinstance(v, str | float | int) for v in leaf.flat):
            odd = next(v for v in leaf.flat if not isinstance(v, str | float | int))
            raise ContractError(f"{what} has {describe(odd)} among its values; give numbers")
    return raw
