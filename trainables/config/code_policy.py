"""Which code a process may load by the import paths of a spec: from where, and which objects.

A process that runs somebody's sweep enters a policy once, before it loads anything that the spec
names. Every such object is loaded by :func:`load_named`, which asks the policy before the module
is imported, and again before the object is called.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import FunctionType
from typing import Any

from pydantic import BaseModel

from trainables.config.code_files import (
    OWN_PACKAGES,
    CodeFile,
    Origin,
    find_installed,
    find_module,
)
from trainables.config.imports import ImportPath, load_object
from trainables.errors import ContractError

OUR_NETWORKS = ("trainables.models:CNN", "trainables.models:MLP")
"""The objects of gapsweep that a spec names by import path; all others have names of their own."""
_LOADERS = ("optunahub:load_module",)
"""Functions that load whatever a spec says; only a pattern without wildcards allows them."""
_LIKE_A_PATH = re.compile(r"\s*[^\W\d][\w.]*\s*:\s*[^\W\d][\w.]*\s*(\[.*\]\s*)?")


@dataclass(frozen=True)
class Kind:
    """What a key of a spec names.

    A class of this kind derives from one of ``bases``, which are import paths. ``of_tensors``: a
    function of outputs and targets, which gets no arguments from the spec, is of this kind, too.
    """

    words: str
    bases: tuple[str, ...] = ()
    of_tensors: bool = False


TRAINABLE = Kind("an nn.Module or Trainable", ("torch.nn:Module", "trainables.contract:Trainable"))
LOSS = Kind(
    "a function of outputs and targets, an nn.Module, or a class of metrics",
    ("torch.nn:Module", "trainables.functions:MetricObject"),
    of_tensors=True,
)
DATA = Kind("a data function")
COLLATE = Kind("a function that makes a batch of a list of samples")
ARGUMENT = Kind(
    "an nn.Module, or a function of outputs and targets", ("torch.nn:Module",), of_tensors=True
)
"""An argument; what its receiver does with it is not known, as little as its kind."""


def describe_function(arguments: object) -> Kind:
    """The kind of a loss or metric; one with arguments of the spec may do anything with them."""
    return replace(LOSS, of_tensors=False) if arguments else LOSS


def describe_kind(expected: str) -> Kind:
    """The kind of a component whose type has this import path."""
    name = expected.rpartition(":")[2]
    match expected:
        case "builtins:object":
            return Kind("a function")
        case "collections.abc:Callable":
            return Kind("an nn.Module, or a function", ("torch.nn:Module",))
    return Kind(f"a class with the methods of {name}", (expected,))


@dataclass(frozen=True)
class CodePolicy:
    """The rules of one process, which travel with a sweep to all of its processes.

    Attributes:
        import_paths: folders of the user's own code, which come first on the path.
        folders: further folders in which the user's code may lie. With None code may lie
            anywhere.
        excluded: folders from which nothing is imported: they leave the path, with all in them
            but the folders of the user's code, as entries that are relative do.
        bundle: the digest of the bundle, an uploaded archive of the user's code.
        bundled: top-level modules of the bundle, which must be imported from it.
        allow: patterns of import paths that specs may name; empty allows all.
        digests: SHA-256 of the user's modules that the sweep started with, by name.
    """

    import_paths: tuple[str, ...] = ()
    folders: tuple[str, ...] | None = None
    excluded: tuple[str, ...] = ()
    bundle: str | None = None
    bundled: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    digests: Mapping[str, str] = field(default_factory=dict)

    @property
    def all_folders(self) -> tuple[str, ...]:
        """Every folder of the user's code."""
        return (*self.import_paths, *(self.folders or ()))

    def enter(self) -> None:
        """Make it this process's policy, and put its folders first on the path.

        Folders that an earlier policy put there leave it.
        """
        global _policy
        leave_policy()
        _policy = self
        _added.extend(p for p in dict.fromkeys(self.import_paths) if p not in sys.path)
        first = list(dict.fromkeys(self.import_paths))
        rest = (p for p in sys.path if p not in first and not self._excludes(p))
        sys.path[:] = [*first, *rest]

    def _excludes(self, entry: str) -> bool:
        if not self.excluded or entry in self.all_folders:
            return False
        path = Path(entry)
        if _is_below(path, (sys.prefix, sys.base_prefix)):
            return False
        return not path.is_absolute() or _is_below(path, self.excluded)

    def check_text(self, path: str, kind: Kind = ARGUMENT) -> None:
        """Check that an import path may be named, without importing anything.

        Raises:
            ContractError: no pattern allows it.
        """
        if not self.allow:
            return
        matching = [p for p in self.allow if fnmatchcase(path, p)]
        if path in _LOADERS:
            matching = [p for p in matching if p == path]
        ours = _get_top(path) in OWN_PACKAGES
        if matching and (not ours or (path in OUR_NETWORKS and kind is TRAINABLE)):
            return
        patterns = ", ".join(self.allow)
        own = f"; of gapsweep itself, only {', '.join(OUR_NETWORKS)} as `trainable`" if ours else ""
        raise ContractError(f"this server does not allow {path!r}; allowed: {patterns}{own}")

    def check_arguments(self, value: object) -> None:
        """Check everything in some arguments that is written like an import path.

        Raises:
            ContractError: it may not be named, or names an object that may not be used.
        """
        if not self.allow:
            return
        for text in find_paths_in(value):
            load_named("".join(text.split()), ARGUMENT)

    def check_bundle(self) -> None:
        """Check that the bundle's modules are imported from it, and are installed nowhere here.

        Raises:
            ContractError: one is not.
        """
        for name in self.bundled:
            place = find_installed(name)
            if place is not None:
                raise ContractError(f"the bundle's module {name!r} would shadow {place}; rename it")
            if not self.check_module(name):
                raise ContractError(f"the bundle's module {name!r} is not on this node")

    def check_module(self, name: str) -> tuple[CodeFile, ...]:
        """Check where a module and its parents come from, without importing any of them.

        Raises:
            ContractError: one of them is neither installed, nor ours, nor in the user's folders;
                the bundle has it, but another one would be imported; or it has changed.
        """
        if self.folders is None:
            return ()
        found = find_module(name, self.all_folders)
        for file in found:
            self._check_file(file)
        return found

    def _check_file(self, file: CodeFile) -> None:
        place = file.file or file.folder
        top = _get_top(file.module)
        if top in self.bundled and file.origin is not Origin.USER:
            raise ContractError(
                f"module {file.module!r} is in the bundle, but {place} would be imported instead; "
                "rename it, and if it is a folder, add __init__.py"
            )
        if file.origin is Origin.UNKNOWN:
            raise ContractError(
                f"module {file.module!r} is at {place}, which is neither {self._describe_places()} "
                "nor an installed package"
            )
        known = self.digests.get(file.module)
        if known is not None and known != file.digest:
            raise ContractError(
                f"{place} differs from the file that the sweep started with (SHA-256 "
                f"{file.digest[:12]}, then {known[:12]}); resume the sweep to run the new one"
            )

    def _describe_places(self) -> str:
        if self.bundled or not self.import_paths:
            return "in the sweep's bundle"
        return f"in {' or '.join(self.import_paths)}"

    def check_object(self, path: str, found: object, kind: Kind) -> None:
        """Check that an object may be called or used where the spec names it.

        It must be defined in the named module, or below that package; be public there; and be of
        the kind that the key wants. A pattern with wildcards covers what the module lists in
        ``__all__``, and registered entry points. What a function is cannot be seen before it is
        called, so that it must be registered, or a pattern must name it in full.

        Raises:
            ContractError: one of these is not so.
        """
        if not self.allow:
            return
        module, _, name = path.partition(":")
        if not isinstance(found, type | FunctionType):
            raise ContractError(f"{path} is {type(found).__name__}, not a class or a function")
        home = str(found.__module__)
        if home != module and not home.startswith(f"{module}."):
            raise ContractError(f"{path} is defined in {home}; name it there: {home}:{name}")
        named = path in self.allow or path in _list_registered()
        listed = getattr(sys.modules[module], "__all__", None)
        public = name in listed if listed is not None else named and not name.startswith("_")
        if not public and path not in _list_registered():
            raise ContractError(
                f"{path} is not public: add {name!r} to __all__ of {module}, or have the server "
                f"allow {path} by its full name"
            )
        if not _is_of_kind(found, kind, named):
            full = "" if named else f"; anything else must be allowed by its full name, {path}"
            raise ContractError(f"{path} is not {kind.words}{full}")


_policy = CodePolicy()
_added: list[str] = []
"""What the policy has put on the path."""


def leave_policy() -> None:
    """Take what the process's policy has put on the path from it; anything may be loaded."""
    global _policy
    _policy = CodePolicy()
    sys.path[:] = [p for p in sys.path if p not in _added]
    _added.clear()


def get_policy() -> CodePolicy:
    """This process's policy; without one, anything may be loaded."""
    return _policy


@contextmanager
def restore_policy() -> Iterator[None]:
    """At the end of the block, return to the policy of its start; the path stays as it is."""
    global _policy
    before = _policy
    try:
        yield
    finally:
        _policy = before


def load_named(path: str, kind: Kind, arguments: object = None) -> object:
    """The object that a spec names, if this process's policy lets it be loaded and used.

    ``arguments`` are what the spec says it is called with.

    Raises:
        ContractError: the policy refuses it, or as :func:`load_object`.
    """
    policy, module = get_policy(), path.partition(":")[0]
    policy.check_text(path, kind)
    policy.check_module(module)
    found = load_object(path)
    policy.check_module(module)  # its package may have changed where its modules are found
    policy.check_object(path, found, kind)
    policy.check_arguments(arguments)
    return found


def find_paths_in(value: object) -> Iterator[str]:
    """All texts in some arguments that are written like an import path, keys among them.

    Of a model only what it does not declare as text: import paths and other texts of its own
    fields are checked where they are declared.
    """
    if isinstance(value, BaseModel):
        for name, item in value:
            info = type(value).model_fields.get(name)
            if info is None or not isinstance(item, str) or info.annotation is Any:
                yield from find_paths_in(item)
    elif isinstance(value, str):
        if not isinstance(value, ImportPath) and _LIKE_A_PATH.fullmatch(value):
            yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from find_paths_in(key)
            yield from find_paths_in(item)
    elif isinstance(value, Collection):
        for item in value:
            yield from find_paths_in(item)


def _is_below(path: Path, folders: Collection[str]) -> bool:
    """Whether a path is one of some folders, or in one."""
    return any(path.resolve().is_relative_to(Path(folder).resolve()) for folder in folders)


def _is_of_kind(found: type | FunctionType, kind: Kind, named: bool) -> bool:
    if isinstance(found, type):
        if kind.bases:
            bases: Any = tuple(load_object(base) for base in kind.bases)
            return issubclass(found, bases)
        return named
    return named or (kind.of_tensors and _takes_two(found))


def _takes_two(function: FunctionType) -> bool:
    """Whether outputs and targets, and nothing else, make up its arguments."""
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        return False
    return True


@cache
def _list_registered() -> frozenset[str]:
    """The import paths that installed packages register as components."""
    points = entry_points()
    groups = (group for group in points.groups if group.startswith("gapsweep."))
    return frozenset(point.value for group in groups for point in points.select(group=group))


def _get_top(path: str) -> str:
    return path.partition(":")[0].partition(".")[0]
