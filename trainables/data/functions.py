"""Calls users' data functions, which return splits."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeGuard

import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset

from trainables.config.code_policy import COLLATE, DATA, load_named
from trainables.config.construct import check_options
from trainables.config.data import Function, LoaderOptions
from trainables.data.batch import LABELS
from trainables.data.lazy import (
    LazySplit,
    Loading,
    StreamSplit,
    find_view,
    is_map_style,
    take_apart,
)
from trainables.data.nests import Nest, list_leaves
from trainables.data.raw import SPLIT_NAMES, Array, Raw
from trainables.data.reading import describe
from trainables.errors import ContractError, DataError, blame, name_error

_OUR_KEYS = ("split", "redraw")
_SHARED_KEYS = ("test", "seed")
_DEFAULT_TEST = 0.2
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


@dataclass(frozen=True)
class DataFunction:
    """A user-defined ``module:function`` and its arguments.

    Attributes:
        path: its import path.
        arguments: the arguments of every call.
        varies: the argument that each replicate gets anew, ``seed`` or ``fold``, or None.
        first: the value of this argument for replicate 0.
        test: the share of rows to set aside, where it returns no test rows.
        test_is_ours: whether the spec gives this share, and the function does not read it.
        seed: the seed of our own divisions.
        loader: how a Dataset's samples become batches.
    """

    path: str
    arguments: Mapping[str, Any]
    varies: str | None
    first: int
    test: float
    test_is_ours: bool
    seed: int
    loader: LoaderOptions

    def call(self, replicate: int = 0) -> dict[str, Part]:
        """The splits ``train``, ``val`` and maybe ``test``.

        A function returns each as a pair of nests of tensors or arrays, or a mapping of them with
        ``labels``; or as a ``Dataset``, an ``IterableDataset`` or a ``DataLoader``.

        Raises:
            ContractError: it cannot be imported or called, or returns something else.
            DataError: it raised an error.
        """
        return self.read(replicate)[0]

    def read(self, replicate: int = 0) -> tuple[dict[str, Part], bool]:
        """The splits as :meth:`call`, and whether other replicates have others.

        Raises:
            ContractError, DataError: as :meth:`call`.
        """
        anew = {self.varies: self.first + replicate} if self.varies else {}
        made = _call(self.path, _load(self.path, self.arguments), {**self.arguments, **anew}, anew)
        folds = made if _are_folds(made) else None
        if folds is not None:
            made = self._choose(folds, replicate)
        parts = _read_parts(self.path, made, _build_loading(self.loader))
        return parts, bool(self.varies or folds)

    def _choose(self, folds: list[object], replicate: int) -> object:
        """The fold of a replicate; they take the folds in turn."""
        if self.varies == "fold":
            raise ContractError(f"{self.path} has an argument `fold` and returns a list of folds")
        return folds[replicate % len(folds)]


def bind(config: Function) -> DataFunction:
    """The function of a spec, with what its signature says about its arguments.

    Raises:
        ContractError: it cannot be imported, or has an argument that is a key of ``data``.
        DataError: ``test`` or ``seed`` is neither an argument of it nor valid for our use.
    """
    parameters = _read_parameters(_load(config.name, (config.arguments, config.test, config.seed)))
    for key in _OUR_KEYS:
        wanted = key in config.model_fields_set or (
            key in parameters and _is_required(parameters[key])
        )
        if key in parameters and key not in config.args and wanted:
            raise ContractError(
                f"{config.name} has an argument {key!r}, which is a key of `data` itself; give it "
                f"as `args: {{{key}: …}}`"
            )
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    shared = {k: v for k in _SHARED_KEYS if (v := getattr(config, k)) is not None}
    passed = {k: v for k, v in shared.items() if takes_all or k in parameters}
    own = {k: v for k, v in config.args.items() if k in _SHARED_KEYS}
    shared, passed = {**shared, **own}, {**passed, **own}
    varies = _find_varying(config, parameters)
    return DataFunction(
        config.name,
        {**config.arguments, **passed},
        varies,
        _first_value(shared, varies, parameters),
        _read_share(shared, passed),
        "test" in shared and "test" not in passed,
        _read_seed(shared, passed),
        config.loader,
    )


def _find_varying(config: Function, parameters: Mapping[str, inspect.Parameter]) -> str | None:
    if config.redraw == "pooled" or "fold" in config.arguments:
        return None
    return next((name for name in ("fold", "seed") if name in parameters), None)


def _first_value(
    shared: Mapping[str, Any], varies: str | None, parameters: Mapping[str, inspect.Parameter]
) -> int:
    """The spec's value, or the function's own default, or 0."""
    if varies is None:
        return 0
    value = shared.get(varies, parameters[varies].default)
    return value if isinstance(value, int) else 0


def _read_share(shared: Mapping[str, Any], passed: Mapping[str, Any]) -> float:
    value = shared.get("test", _DEFAULT_TEST)
    if isinstance(value, int | float) and 0 <= value < 1:
        return float(value)
    if "test" not in passed:
        raise DataError(f"`test` must be a fraction from 0 to below 1; got {value!r}")
    return _DEFAULT_TEST


def _read_seed(shared: Mapping[str, Any], passed: Mapping[str, Any]) -> int:
    value = shared.get("seed", 0)
    if isinstance(value, int) and value >= 0:
        return value
    if "seed" not in passed:
        raise DataError(f"`seed` must be a whole number from 0; got {value!r}")
    return 0


def _load(path: str, arguments: object) -> Callable[..., object]:
    found = load_named(path, DATA, arguments)
    if not callable(found):
        raise ContractError(f"{path} is {type(found).__name__}, not a function")
    return found


def _read_parameters(function: Callable[..., object]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except ValueError:  # a builtin without a signature
        return {}


def _is_required(parameter: inspect.Parameter) -> bool:
    return parameter.default is parameter.empty


def _call(
    path: str,
    function: Callable[..., object],
    arguments: Mapping[str, Any],
    anew: Mapping[str, Any],
) -> object:
    check_options(path, function, arguments, {})
    shown = "".join(f" for {name} {value}" for name, value in anew.items())
    try:
        return function(**arguments)
    except Exception as error:
        raise DataError(f"{path} raised {type(error).__name__}{shown}: {error}") from error
    except SystemExit as error:
        raise DataError(f"{path}{shown}: {name_error(error)}") from error


def _are_folds(made: object) -> TypeGuard[list[object]]:
    """Whether a function returned a list of folds, each of them a dict of splits."""
    if not isinstance(made, list) or not made:
        return False
    return all(isinstance(fold, Mapping) and "train" in fold for fold in made)


def _read_parts(path: str, made: object, loading: Loading) -> dict[str, Part]:
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
        if isinstance(split, Mapping) and LABELS in split:
            made = Raw(_to_arrays(split), _to_arrays(split[LABELS]))
            return _check_raw(made, f"{path}: {name!r}")
        if isinstance(split, tuple) and len(split) > _PAIR:
            split = split[:-1], split[-1]
        if isinstance(split, tuple | list) and len(split) == _PAIR:
            x, y = split
            made = Raw(x if isinstance(x, pd.DataFrame) else _to_arrays(x), _to_arrays(y))
            return _check_raw(made, f"{path}: {name!r}")
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
    return Loading(found, options.workers)


def _to_arrays(values: Any) -> Nest:
    """A nest of tensors, arrays or numbers as one of arrays; a list of numbers is an array."""
    if isinstance(values, Mapping):
        return {str(name): _to_arrays(value) for name, value in values.items()}
    if isinstance(values, tuple):
        return tuple(_to_arrays(value) for value in values)
    if is_dataclass(values) and not isinstance(values, type):
        return {f.name: _to_arrays(getattr(values, f.name)) for f in fields(values)}
    return _to_array(values)


def _to_array(values: Any) -> Array:
    if hasattr(values, "toarray"):
        raise TypeError(f"{describe(values)} is sparse; use its toarray()")
    if isinstance(values, torch.Tensor):
        tensor = values.detach().cpu()
        values = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    array: Array = np.asarray(values)
    return array


def _check_raw(raw: Raw, what: str) -> Raw:
    """Arrays of a split, if they have samples.

    Raises:
        ContractError: they have none, or are not of numbers or texts.
    """
    leaves = [*list_leaves(raw.y), *([] if isinstance(raw.x, pd.DataFrame) else list_leaves(raw.x))]
    for leaf in leaves:
        if not leaf.ndim:
            raise ContractError(f"{what} has one value, {leaf}, in place of one for each sample")
        if not len(leaf):
            raise ContractError(f"{what} is empty")
        if leaf.dtype == object and not all(isinstance(v, str | float | int) for v in leaf.flat):
            odd = next(v for v in leaf.flat if not isinstance(v, str | float | int))
            raise ContractError(f"{what} has {describe(odd)} among its values; give numbers")
    return raw
