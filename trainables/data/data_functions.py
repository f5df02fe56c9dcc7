"""Calls users' data functions, which return splits."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from search_spaces.models import list_changed
from trainables.config.code_policy import DATA, load_named
from trainables.config.construct import check_options, read_parameters
from trainables.config.data import Function, LoaderOptions
from trainables.data.data_modules import is_data_module, read_data_module
from trainables.data.randomness import ReadingState
from trainables.data.returned_splits import Part, read_parts
from trainables.errors import ContractError, DataError, tell_error

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
        ``labels``; or as a ``Dataset``, an ``IterableDataset`` or a ``DataLoader``. It may also
        return, or be the class of, a ``LightningDataModule``. Python's, NumPy's and torch's
        generators are seeded while it runs, equally in each call for this replicate.

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
        function = _load(self.path, self.arguments)
        anew = {self.varies: self.first + replicate} if self.varies else {}
        with ReadingState().seeded(self.seed, replicate if self.varies else 0):
            made = _call(self.path, function, {**self.arguments, **anew}, anew)
            if is_data_module(made):
                return read_data_module(self.path, made, self.loader), bool(self.varies)
        folds = made if _are_folds(made) else None
        if folds is not None:
            made = self._choose(folds, replicate)
        parts = read_parts(self.path, made, self.loader)
        return parts, bool(self.varies or folds)

    def check_folds(self, folds: int) -> None:
        """Check that calls give so many folds, to validate on one after another.

        Raises:
            DataError: they do not.
            ContractError: as :meth:`call`.
        """
        if self.varies == "fold":
            return
        if self.varies == "seed":
            raise DataError(
                f"{self.path} takes `seed`, of which each value gives another random division, and "
                f"{folds} folds share no validation sample: let it take `fold`, or return a list "
                f"of {folds} folds; or set `redraw: pooled` in `data`"
            )
        with ReadingState().seeded(self.seed, 0):
            made = _call(self.path, _load(self.path, self.arguments), self.arguments, {})
        known = len(made) if _are_folds(made) else 1
        if known < folds:
            raise DataError(f"{self.path} returns {known} folds, fewer than {folds}")

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
    function = _load(config.name, (config.arguments, config.test, config.seed))
    parameters = read_parameters(function) or {}
    changed = list_changed(config)
    for key in _OUR_KEYS:
        wanted = key in changed or (key in parameters and _is_required(parameters[key]))
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
    except (Exception, SystemExit) as error:
        raise DataError(f"{path}{shown}{tell_error(error)}") from error


def _are_folds(made: object) -> TypeGuard[list[object]]:
    """Whether a function returned a list of folds, each of them a dict of splits."""
    if not isinstance(made, list) or not made:
        return False
    return all(isinstance(fold, Mapping) and "train" in fold for fold in made)
