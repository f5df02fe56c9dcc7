"""Loads objects by import path ``module:attribute``, with errors that name the wrong part."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, core_schema

from search_spaces.models import get_first_message
from search_spaces.words import did_you_mean
from trainables.config.code_files import OWN_PACKAGES
from trainables.errors import ContractError, blame

IMPORT_PATH = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"


class ImportPath(str):
    """``module:Name`` in a spec. The type marks every field that names code."""

    __slots__ = ()

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(
            cls, core_schema.str_schema(pattern=IMPORT_PATH)
        )


def find_import_paths(value: object) -> Iterator[str]:
    """All import paths in a model of a spec, and those in ``loads`` of its class."""
    if isinstance(value, ImportPath):
        yield str(value)
    elif isinstance(value, BaseModel):
        yield from getattr(type(value), "loads", ())
        for name in type(value).model_fields:
            yield from find_import_paths(getattr(value, name))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from find_import_paths(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from find_import_paths(item)


def load_object(path: str) -> object:
    """The object that an import path names.

    Raises:
        ContractError: the path is malformed, the module does not exist or fails to import, or it
            has no such attribute (the message names the closest one).
    """
    module_name, colon, attribute = path.partition(":")
    if not (module_name and colon and attribute):
        raise ContractError(f"{path!r} is not an import path; write module:Name")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise ContractError(f"{path}: {_explain_missing(error.name)}") from None
        raise ContractError(f"{path}: importing {module_name} failed: {error}") from error
    except Exception as error:
        raise ContractError(
            f"{path}: importing {module_name} failed: {type(error).__name__}: {error}"
        ) from error
    if not hasattr(module, attribute):
        hint = did_you_mean(attribute, dir(module))
        raise ContractError(f"{path}: module {module_name} has no {attribute!r}{hint}")
    found: object = getattr(module, attribute)
    return found


def _explain_missing(module: str) -> str:
    own = module.partition(".")[0]
    if own in OWN_PACKAGES:
        return (
            f"package {own!r} of gapsweep has no module {module!r}; if it is in your own package, "
            "rename that package"
        )
    return (
        f"there is no module {module!r}; gapsweep searches the spec's folder, the working "
        "directory and the installed packages"
    )


def construct(
    path: str,
    options: Mapping[str, Any],
    offered: Mapping[str, Any] | None = None,
    *,
    expected: str = "builtins:object",
) -> Any:
    """Call the object at ``path`` with the options, and with the ``offered`` ones it accepts.

    A pydantic model checks the values of its options; for any other callable the names are
    checked against its signature. ``expected`` is the import path of the result's type.

    Raises:
        ContractError: it cannot be imported or called, an option is unknown, missing or invalid,
            or it returned something else.
    """
    found = load_object(path)
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


def check_options(
    path: str, factory: Callable[..., Any], options: Mapping[str, Any], offered: Mapping[str, Any]
) -> tuple[str, ...]:
    """The argument names of a factory, after checking that it accepts these options.

    Raises:
        ContractError: an option is unknown, or one without a default is missing.
    """
    try:
        signature = inspect.signature(factory).parameters.values()
    except ValueError:  # a builtin without a signature
        return tuple(options)
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
        raise ContractError(f"{path} needs {', '.join(missing)}")
    return names
