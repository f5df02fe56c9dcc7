"""Calls what a spec names by import path, with the options that the spec gives."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from search_spaces.models import get_first_message
from search_spaces.unknown_names import did_you_mean
from trainables.config.code_policy import describe_kind, load_named
from trainables.config.imports import load_object
from trainables.config.lightning import is_of_lightning
from trainables.errors import ContractError, blame


def construct(
    path: str,
    options: Mapping[str, Any],
    offered: Mapping[str, Any] | None = None,
    *,
    expected: str = "builtins:object",
    checked: bool = False,
) -> Any:
    """Call the object at ``path`` with the options, and with the ``offered`` ones it accepts.

    A pydantic model checks the values of its options; for any other callable the names are
    checked against its signature. ``expected`` is the import path of the result's type.
    ``checked``: the process's policy is not asked, as the path is ours, or was checked before.

    Raises:
        ContractError: the process's policy refuses it, it cannot be imported or called, an option
            is unknown, missing or invalid, or it returned something else.
    """
    found = load_object(path) if checked else load_named(path, describe_kind(expected), options)
    if not callable(found):
        raise ContractError(f"{path} is {type(found).__name__}, not a class or a function")
    if inspect.isabstract(found):
        missing = ", ".join(sorted(getattr(found, "__abstractmethods__", ())))
        raise ContractError(f"{path} does not define {missing}")
    names = check_options(path, found, options, offered or {})
    given = {k: v for k, v in (offered or {}).items() if k in names}
    with blame("", path):
        try:
            made = found(**{**given, **options})
        except ValidationError as error:
            place = ".".join(str(part) for part in error.errors()[0]["loc"])
            raise ContractError(f"{path}: {place}: {get_first_message(error)}") from None
    kind: Any = load_object(expected)
    if not isinstance(made, kind):
        name = expected.rpartition(":")[2]
        raise ContractError(f"{path} gives {type(made).__name__}; expected: {name}")
    return made


def read_parameters(factory: Callable[..., Any]) -> Mapping[str, inspect.Parameter] | None:
    """The arguments of a factory by name; None for a builtin without a signature.

    A class that has the constructor of Lightning's base classes has none: that one swallows all.
    """
    home = getattr(getattr(factory, "__init__", None), "__module__", "")
    if isinstance(factory, type) and is_of_lightning(home or ""):
        return {}
    try:
        return inspect.signature(factory).parameters
    except ValueError:
        return None


def check_options(
    path: str,
    factory: Callable[..., Any],
    options: Mapping[str, Any],
    offered: Mapping[str, Any],
    advice: str = "",
) -> tuple[str, ...]:
    """The argument names of a factory, after checking that it accepts these options.

    ``advice`` follows the message of an argument that is missing: how to give it.

    Raises:
        ContractError: an option is unknown, or one without a default is missing.
    """
    parameters = read_parameters(factory)
    if parameters is None:
        return tuple(options)
    signature = parameters.values()
    names = tuple(p.name for p in signature if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD))
    if not any(p.kind is p.VAR_KEYWORD for p in signature):
        for option in options:
            if option not in names:
                valid = ", ".join(names) or "none"
                hint = did_you_mean(option, names)
                raise ContractError(f"{path} takes no argument {option!r}{hint}; valid: {valid}")
    required = [p.name for p in signature if p.name in names and p.default is p.empty]
    missing = [n for n in required if n not in options and n not in offered]
    if missing:
        raise ContractError(f"{path} needs {', '.join(missing)}{advice and f'; {advice}'}")
    return names
