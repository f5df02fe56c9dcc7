"""Calls users' data functions, which return splits."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import pandas as pd
from torch.utils.data import Dataset

from trainables.config.code_policy import DATA, load_named
from trainables.config.construct import check_options
from trainables.config.data import Function
from trainables.data.batch import LABELS
from trainables.data.nests import Nest, map_nest
from trainables.data.raw import SPLIT_NAMES, Array, Raw
from trainables.errors import ContractError, DataError, blame, name_error

_OUR_KEYS = ("split", "redraw")
_SHARED_KEYS = ("test", "seed")
_DEFAULT_TEST = 0.2
_VALID = (
    "a torch.utils.data.Dataset with a length, a pair (inputs, targets) of tensors, arrays, or "
    "tuples and dicts of them, or a dict of tensors with `labels`"
)


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
    """

    path: str
    arguments: Mapping[str, Any]
    varies: str | None
    first: int
    test: float
    test_is_ours: bool
    seed: int

    def call(self, replicate: int = 0) -> dict[str, Raw]:
        """The splits ``train``, ``val`` and maybe ``test``.

        Each is a ``torch.utils.data.Dataset`` of ``(input, target)``, a pair of nests of tensors
        or arrays, or a mapping of them with ``labels``.

        Raises:
            ContractError: it cannot be imported or called, or returns something else.
            DataError: it raised an error.
        """
        anew = {self.varies: self.first + replicate} if self.varies else {}
        made = _call(self.path, _load(self.path, self.arguments), {**self.arguments, **anew}, anew)
        return _read_parts(self.path, made)


def bind(config: Function) -> DataFunction:
    """The function of a spec, with what its signature says about its arguments.

    Raises:
        ContractError: it cannot be imported, or has an argument that is a key of ``data``.
        DataError: ``test`` or ``seed`` is neither an argument of it nor valid for our use.
    """
    parameters = _read_parameters(_load(config.name, (config.arguments, config.test, config.seed)))
    for key in _OUR_KEYS:
        if key in parameters and (key in config.model_fields_set or _is_required(parameters[key])):
            raise ContractError(
                f"{config.name} has an argument {key!r}, which is a key of `data` itself; rename it"
            )
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    shared = {k: v for k in _SHARED_KEYS if (v := getattr(config, k)) is not None}
    passed = {k: v for k, v in shared.items() if takes_all or k in parameters}
    varies = _find_varying(config, parameters)
    return DataFunction(
        config.name,
        {**config.arguments, **passed},
        varies,
        _first_value(shared, varies, parameters),
        _read_share(shared, passed),
        "test" in shared and "test" not in passed,
        _read_seed(shared, passed),
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


def _read_parts(path: str, made: object) -> dict[str, Raw]:
    if not isinstance(made, Mapping):
        raise ContractError(f"{path} returned {type(made).__name__}, not a dict of train and val")
    for name in made:
        if name not in SPLIT_NAMES:
            raise ContractError(f"{path} returned a split {name!r}; valid: train, val, test")
    for name in ("train", "val"):
        if name not in made:
            raise ContractError(f"{path} returned no {name!r}; it returned {', '.join(made)}")
    return {n: _to_raw(path, n, split) for n, split in made.items() if split is not None}


def _to_raw(path: str, name: str, split: object) -> Raw:
    """A split as arrays: of a Dataset, a pair, or a mapping with labels.

    Raises:
        ContractError: it is something else, or its items are.
    """
    with blame("data", f"{path}: reading {name!r}"):
        if isinstance(split, Dataset):
            return _read_dataset(path, name, split)
        if isinstance(split, Mapping) and LABELS in split:
            return Raw(_to_arrays(split), _to_arrays(split[LABELS]))
        if isinstance(split, tuple | list) and len(split) == 2:
            x, y = split
            return Raw(x if isinstance(x, pd.DataFrame) else _to_arrays(x), _to_arrays(y))
    raise ContractError(f"{path}: {name!r} is {_describe(split)}; it must be {_VALID}")


def _read_dataset(path: str, name: str, dataset: Dataset[Any]) -> Raw:
    count = len(dataset) if hasattr(dataset, "__len__") else None
    if count is None:
        raise ContractError(
            f"{path}: {name!r} is {type(dataset).__name__}, a stream without a length; it must be "
            f"{_VALID}"
        )
    if not count:
        raise ContractError(f"{path}: {name!r} is empty")
    items = []
    for number in range(count):
        item = dataset[number]
        is_batch = isinstance(item, Mapping) and LABELS in item
        if not is_batch and not (isinstance(item, tuple | list) and len(item) == 2):
            raise ContractError(
                f"{path}: item {number} of {name!r} is {_describe(item)}; it must be a pair "
                "(input, target), each of which may be a tuple or dict, or a dict with `labels`"
            )
        items.append((item, item[LABELS]) if is_batch else tuple(item))
    inputs, targets = zip(*items, strict=True)
    return Raw(_stack(path, name, inputs), _stack(path, name, targets))


def _stack(path: str, name: str, items: Sequence[Nest]) -> Nest:
    """One nest of arrays with samples on the first axis.

    Raises:
        ContractError: the samples differ in structure or shape.
    """
    arrays = [_to_arrays(item) for item in items]
    try:
        return map_nest(lambda *leaves: np.stack(leaves), arrays[0], *arrays[1:])
    except (ValueError, KeyError, TypeError, AttributeError):
        shapes = {str(map_nest(lambda leaf: leaf.shape, a)) for a in arrays}
        some = ", ".join(sorted(shapes)[:3])
        raise ContractError(
            f"{path}: samples of {name!r} differ in shape: {some}"
            f"{', …' if len(shapes) > 3 else ''}; pad or resize them to one"
        ) from None


def _describe(value: object) -> str:
    """A value by its type, and what is in it."""
    kind = type(value).__name__
    if isinstance(value, Mapping):
        return f"a {kind} with the keys {', '.join(map(str, list(value)[:6]))}"
    if isinstance(value, tuple | list):
        return f"a {kind} of {len(value)}"
    return f"{'an' if kind[0] in 'AEIOU' else 'a'} {kind}"


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
    detached = values.detach().cpu() if hasattr(values, "detach") else values
    array: Array = np.asarray(detached)
    return array
