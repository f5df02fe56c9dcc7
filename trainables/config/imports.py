"""Objects by import path, ``module:attribute``, with errors that say which half is wrong."""

from __future__ import annotations

import difflib
import importlib

from trainables.errors import ContractError

IMPORT_PATH = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"


def load_object(path: str) -> object:
    """The attribute of a module.

    Raises:
        ContractError: not of that form, no such module, a module that fails to import, or no
            such attribute (with the nearest name).
    """
    module_name, colon, attribute = path.partition(":")
    if not (module_name and colon and attribute):
        raise ContractError(f"{path!r} is not an import path; write module:Name")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise ContractError(
                f"{path}: there is no module {error.name!r}; it is looked for beside the spec, in "
                "the working directory and among the installed packages"
            ) from None
        raise ContractError(f"{path}: importing {module_name} failed: {error}") from error
    except Exception as error:
        raise ContractError(
            f"{path}: importing {module_name} failed: {type(error).__name__}: {error}"
        ) from error
    if not hasattr(module, attribute):
        near = difflib.get_close_matches(attribute, dir(module), 3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ContractError(f"{path}: module {module_name} has no {attribute!r}{hint}")
    found: object = getattr(module, attribute)
    return found
