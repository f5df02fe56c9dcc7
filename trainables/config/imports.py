"""Loads objects by import path ``module:attribute``, with errors that name the wrong part."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from search_spaces.unknown_names import did_you_mean, shorten
from trainables.config.code_files import OWN_PACKAGES
from trainables.config.lightning import INSTALL, is_of_lightning
from trainables.errors import ContractError, name_error

IMPORT_PATH = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"
_DOTTED = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+"
EXTERNAL = "external"
"""The trainable of a spec whose trials are trained by loops elsewhere, which ask for them."""


def suggest_path(text: object) -> str:
    """``; did you mean 'mine:Net'?`` for a name with dots alone; empty for anything else."""
    if not isinstance(text, str) or not re.fullmatch(_DOTTED, text):
        return ""
    module, _, name = text.rpartition(".")
    return f"; did you mean {shorten(f'{module}:{name}')!r}?"


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


TrainablePath = Annotated[
    str,
    Field(pattern=f"^{EXTERNAL}$|{IMPORT_PATH}"),
    AfterValidator(lambda path: path if path == EXTERNAL else ImportPath(path)),
]
"""``module:Name``, or ``external``."""


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
        hint = f"; {INSTALL}" if is_of_lightning(error.name or "") else ""
        raise ContractError(f"{path}: importing {module_name} failed: {error}{hint}") from error
    except (Exception, SystemExit) as error:
        raise ContractError(
            f"{path}: importing {module_name} failed: {name_error(error)}"
        ) from error
    if not hasattr(module, attribute):
        hint = did_you_mean(attribute, _list_objects(module))
        raise ContractError(f"{path}: module {module_name} has no {attribute!r}{hint}")
    found: object = getattr(module, attribute)
    return found


def _list_objects(module: ModuleType) -> list[str]:
    """The attributes of a module that an import path may name: a module in it is none of them."""
    return [name for name in dir(module) if not isinstance(getattr(module, name, None), ModuleType)]


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
