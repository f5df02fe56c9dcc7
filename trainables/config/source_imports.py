"""The modules that Python source imports, read from the source. Imports nothing."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_COMPUTED = frozenset(("importlib", "pkgutil", "__import__", "exec"))
"""Names by which source imports modules whose names it computes."""


@dataclass(frozen=True)
class Imports:
    """The full names that a module's source imports, some of which may be no modules.

    ``stars`` are modules from which it imports all; ``computed`` says that it may import others,
    by names that it computes while it runs.
    """

    names: tuple[str, ...] = ()
    stars: tuple[str, ...] = ()
    computed: bool = False


def read_imports(file: Path, module: str) -> Imports:
    """What a module's file imports, in functions too.

    Of ``from package import name`` these are ``package`` and ``package.name``. There are none if
    it is not Python source that can be parsed, as its import will say.
    """
    if file.suffix != ".py":
        return Imports()
    try:
        with warnings.catch_warnings():  # of strings with strange escapes, which are not ours
            warnings.simplefilter("ignore")
            tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return Imports()
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    found = tuple(dict.fromkeys(_list_names(tree, package)))
    stars = tuple(name[:-2] for name in found if name.endswith(".*"))
    names = tuple(name for name in found if not name.endswith(".*"))
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    tops = {name.partition(".")[0] for name in names}
    return Imports(names, stars, not _COMPUTED.isdisjoint(used | tops))


def list_modules_below(package: str, folder: Path) -> Iterator[str]:
    """The names of all modules in a package's folder and in those below it."""
    for source in sorted(folder.rglob("*.py")):
        parts = source.relative_to(folder).with_suffix("").parts
        named = parts[:-1] if parts[-1] == "__init__" else parts
        if all(part.isidentifier() for part in named):
            yield ".".join((package, *named))


def _list_names(tree: ast.Module, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _resolve(node, package)
            if base:
                yield base
                yield from (f"{base}.{alias.name}" for alias in node.names)


def _resolve(node: ast.ImportFrom, package: str) -> str:
    """The full name of the module that names are imported from; empty above the top."""
    if not node.level:
        return node.module or ""
    parts = package.split(".") if package else []
    kept = len(parts) - node.level + 1
    return ".".join((*parts[:kept], *([node.module] if node.module else []))) if kept > 0 else ""
