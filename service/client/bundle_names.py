"""The names that a bundle of a user's code may not have, because Python would import it instead.

The folder of a bundle comes first on the path of a sweep's processes. Client and server check the
same names against what each has: the client against gapsweep's own requirements, the server, and
the cluster once more, against everything that is installed there.
"""

from __future__ import annotations

import pkgutil
import re
import sys
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from importlib.machinery import all_suffixes
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import PurePosixPath

from service.base.errors import BundleError
from trainables.config.code_files import OWN_PACKAGES, list_installed_roots

_STARTUP = ("sitecustomize", "usercustomize", "__main__", "__mp_main__", "__init__")
"""Modules that Python imports by itself, or that stand for the program."""
_IN_RAY = ("psutil", "colorama", "setproctitle")
"""Modules that Ray brings along without a distribution."""
_COMPILED = (".pyc", ".pyo", ".pyd", ".so", ".dll", ".dylib", *all_suffixes())
_ENVIRONMENT = (".pth", ".egg-link", ".dist-info", ".egg-info", ".egg", ".whl", ".data")
"""Suffixes of what changes an environment rather than being a module."""


def check_entries(paths: Iterable[PurePosixPath], installed: Mapping[str, str]) -> tuple[str, ...]:
    """The top-level modules of an archive's files, by name.

    ``installed`` has the names that are taken, folded by :func:`fold`, with what has them.

    Raises:
        BundleError: there is none, one has a name that is taken or is not a module's name, or a
            file is compiled Python, or changes the environment.
    """
    paths = tuple(paths)
    for path in paths:
        _check_kind(path)
    tops = {path.parts[0] for path in paths if path.suffix in (".py", ".so", ".pyd")}
    names = sorted({top.removesuffix(".py") for top in tops})
    for top in sorted({path.parts[0] for path in paths}):
        check_name(top.removesuffix(".py"), installed)
    if not any(path.suffix == ".py" for path in paths):
        raise BundleError("the archive contains no Python module")
    for name in names:
        if not name.isidentifier():
            raise BundleError(f"{name!r} cannot be imported: it is not the name of a module")
    return tuple(names)


def check_name(name: str, installed: Mapping[str, str]) -> None:
    """Check that a top-level module may have a name.

    Raises:
        BundleError: it would be imported instead of another one.
    """
    owner = installed.get(fold(name))
    if owner is not None:
        raise BundleError(f"module {name!r} would shadow {owner}; rename it")


def fold(name: str) -> str:
    """A name as Python and any file system compare it: compatible characters, no case."""
    return unicodedata.normalize("NFKC", name).casefold()


@cache
def _find_packages() -> Mapping[str, list[str]]:
    """The distributions of each package here; asking for them takes most of a second."""
    return packages_distributions()


@cache
def list_required() -> Mapping[str, str]:
    """The modules of gapsweep, of Python, and of whatever gapsweep requires that is installed."""
    required = _find_requirements()
    have = _find_packages()
    found = {m for m, dists in have.items() if any(_normalise(d) in required for d in dists)}
    return _list_taken(found)


@cache
def list_installed() -> Mapping[str, str]:
    """The modules of gapsweep, of Python, and of everything that is installed here."""
    roots = [str(root) for root in list_installed_roots()]
    found = {module.name for module in pkgutil.iter_modules(roots)}
    return _list_taken(found | _find_packages().keys())


def _list_taken(packages: Collection[str]) -> Mapping[str, str]:
    owners = {name: f"the installed package {name!r}" for name in packages}
    owners |= dict.fromkeys(_IN_RAY, "a module that Ray brings along")
    python = {*sys.stdlib_module_names, *sys.builtin_module_names}
    owners |= {name: f"Python's module {name!r}" for name in python}
    owners |= {name: f"{name!r}, which Python runs by itself" for name in _STARTUP}
    owners |= {name: f"gapsweep's package {name!r}" for name in OWN_PACKAGES}
    return {fold(name): owner for name, owner in owners.items()}


def _check_kind(path: PurePosixPath) -> None:
    """Refuse compiled modules of the top level, and what stands for another module's source."""
    if "__pycache__" in path.parts or path.suffix in (".pyc", ".pyo"):
        raise BundleError(f"{str(path)!r} is compiled Python, which may differ from its source")
    top = PurePosixPath(path.parts[0])
    if top.suffix.lower() in _ENVIRONMENT:
        raise BundleError(f"{str(top)!r} is not a module, but part of an environment")
    if len(path.parts) == 1 and path.suffix != ".py" and path.name.lower().endswith(_COMPILED):
        raise BundleError(f"{str(path)!r} is a compiled module; put it into a package")


def _find_requirements() -> set[str]:
    """The distributions that gapsweep requires, with its extras, directly or not."""
    found: set[str] = set()
    left = ["gapsweep"]
    while left:
        name = left.pop()
        if name in found:
            continue
        found.add(name)
        try:
            lines = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        left += [_normalise(match[0]) for line in lines if (match := re.match(r"[\w.-]+", line))]
    return found


def _normalise(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
