"""Calls users' data functions, which return splits."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from torch.utils.data import Dataset

from trainables.config.code_policy import DATA, load_named
from trainables.config.construct import check_options
from trainables.config.data import Function
from trainables.data.raw import SPLIT_NAMES, Array, Raw
from trainables.errors import ContractError, DataError

_OUR_KEYS = ("split", "redraw")
_SHARED_KEYS = ("test", "seed")
_DEFAULT_TEST = 0.2


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

        Each is a ``torch.utils.data.Dataset`` of ``(input, target)``, or a pair of tensors or
        arrays.

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
    try:
        return function(**arguments)
    except Exception as error:
        shown = "".join(f" for {name} {value}" for name, value in anew.items())
        raise DataError(f"{path} raised {type(error).__name__}{shown}: {error}") from error


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
