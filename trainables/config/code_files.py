"""Where modules come from: the file behind a name, whose it is, and its digest. Imports nothing.

A module is found as Python's import would find it, but none of its code runs, nor its parents'.
"""

from __future__ import annotations

import hashlib
import json
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import Distribution, distributions
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urlsplit

from trainables.config.source_imports import list_modules_below, read_imports

_VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
OWN_PACKAGES = ("gapsweep", "service", "trainables", "search_spaces")
"""The packages of gapsweep; a user's package cannot have one of these names."""


class Origin(Enum):
    """Whose a module is.

    ``USER``: it lies in a folder of the user's code. ``INSTALLED``: it is part of an installed
    distribution or of Python. ``GAPSWEEP``: it is ours. ``UNKNOWN``: it lies anywhere else.
    """

    USER = "user"
    INSTALLED = "installed"
    GAPSWEEP = "gapsweep"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class CodeFile:
    """A module, the file that defines it, and the SHA-256 of the file's bytes.

    ``file`` is empty for a module without a file: a builtin one, or a folder without
    ``__init__.py``, whose place is ``folder``. ``folder`` is the entry of the path that it was
    found at.
    """

    module: str
    origin: Origin
    folder: str
    file: str = ""
    digest: str = ""


def find_module(name: str, folders: Sequence[Path | str]) -> tuple[CodeFile, ...]:
    """The module of a dotted name after its parents; ends before the first that does not exist.

    ``folders`` are those of the user's code. A module that is imported already is described as
    it was imported, whatever the path is now.
    """
    return _Finder(folders).find(name)


def find_code_files(modules: Iterable[str], folders: Sequence[Path | str]) -> tuple[CodeFile, ...]:
    """The files of some modules and their parents, and what they import of the user's code.

    Imports are read from the source: those that are computed while it runs are not seen. So of a
    package that is named itself, or that computes imports, every module counts. Modules that do
    not exist are left out. In the order of the modules' names.
    """
    modules = tuple(modules)
    finder = _Finder(folders)
    found: dict[str, CodeFile] = {}
    for name in modules:
        files = finder.find(name)
        if files and files[-1].module == name:
            found.update((f.module, f) for f in files)
    named = set(found) & set(modules)
    waiting = [f for f in found.values() if f.origin is Origin.USER and f.file]
    while waiting:
        file = waiting.pop()
        for name in _list_imported(file, finder, whole=file.module in named):
            own = [f for f in finder.find_own(name) if f.module not in found]
            found.update((f.module, f) for f in own)
            waiting += [f for f in own if f.file]
    return tuple(found[name] for name in sorted(found))


def find_installed(name: str) -> str | None:
    """The place of a top-level module among Python's and what is installed; None if there is none.

    The path's own entries do not count, which may have another module of that name.
    """
    if name in sys.builtin_module_names:
        return f"Python's module {name!r}"
    spec = PathFinder.find_spec(name, [str(root) for root in list_installed_roots()])
    if spec is None:
        return None
    return spec.origin or str(next(iter(spec.submodule_search_locations or ()), name))


def list_user_folders() -> tuple[str, ...]:
    """The entries of the path but those of Python, of installed packages and of gapsweep."""
    others = list_installed_roots() | _list_our_roots()
    return tuple(p or "." for p in sys.path if Path(p).resolve() not in others)


def _find_spec(name: str, places: Sequence[str] | None) -> ModuleSpec | None:
    """What the import of a name would use, by every finder in turn."""
    loaded = sys.modules.get(name)
    if loaded is not None:
        return loaded.__spec__ or _describe_script(loaded)
    for finder in sys.meta_path:
        try:
            spec = finder.find_spec(name, places)
        except KeyError:  # a folder without a file, below a package that is not imported yet
            spec = ModuleSpec(name, None)
            spec.submodule_search_locations = _find_subfolders(name, places or ())
        if spec is not None:
            return spec
    return None


def _find_subfolders(name: str, places: Sequence[str]) -> list[str]:
    folders = (Path(place) / name.rpartition(".")[2] for place in places)
    return [str(folder) for folder in folders if folder.is_dir()]


def _describe_script(module: ModuleType) -> ModuleSpec:
    """``__main__`` of a script, a notebook or a prompt, which has no specification."""
    place = getattr(module, "__file__", None) or str(Path.cwd() / module.__name__)
    spec = ModuleSpec(module.__name__, None, origin=place)
    spec.has_location = Path(place).is_file()
    if not spec.has_location:
        spec.submodule_search_locations = [place]
    return spec


def _describe(name: str, spec: ModuleSpec, own: set[Path]) -> CodeFile:
    file = spec.origin if spec.has_location and spec.origin else ""
    if not file and not spec.submodule_search_locations:  # builtin or frozen
        kind = Origin.INSTALLED if spec.origin in ("built-in", "frozen") else Origin.UNKNOWN
        return CodeFile(name, kind, "")
    roots = [_find_root(name, place) for place in _list_places(spec, file)]
    origins = {_find_origin(name, root, own) for root in roots}
    origin = origins.pop() if len(origins) == 1 else Origin.UNKNOWN
    return CodeFile(name, origin, str(roots[0]), file, _digest(file) if file else "")


def _list_places(spec: ModuleSpec, file: str) -> list[Path]:
    """The module's own place without a suffix; of a folder without a file, each of its parts."""
    if not file:
        return [Path(p) for p in spec.submodule_search_locations or ()]
    path = Path(file)
    is_package = spec.submodule_search_locations is not None
    return [path.parent] if is_package else [path.with_name(path.name.partition(".")[0])]


def _find_root(name: str, place: Path) -> Path:
    """The entry of the path at which a module of this name lies at ``place``."""
    return place.absolute().parents[name.count(".")].resolve()


def _find_origin(name: str, root: Path, own: set[Path]) -> Origin:
    top = name.partition(".")[0]
    if top in OWN_PACKAGES:
        return Origin.GAPSWEEP if root in _list_our_roots() else Origin.UNKNOWN
    if root in own:
        return Origin.USER
    if root in list_installed_roots() or _is_editable(top, root):
        return Origin.INSTALLED
    return Origin.UNKNOWN


@cache
def _list_our_roots() -> frozenset[Path]:
    """The folders of gapsweep's packages: of a wheel, or of an editable install."""
    here = Path(__file__).resolve().parents[2]
    return frozenset((here, here / "service" / "public"))


@cache
def list_installed_roots() -> frozenset[Path]:
    """The folders of Python's library and of installed distributions."""
    named = [sysconfig.get_paths()[k] for k in ("stdlib", "platstdlib", "purelib", "platlib")]
    named += site.getsitepackages()
    named += [site.getusersitepackages()] if site.ENABLE_USER_SITE else []
    named += [str(Path(p) / "lib-dynload") for p in named[:2]]
    named += [str(Path(sys.base_prefix) / sys.platlibdir / _VERSION / "lib-dynload")]
    return frozenset(Path(p).resolve() for p in named)


def _is_editable(top: str, root: Path) -> bool:
    """Whether an editable install of another distribution has this module in this folder."""
    return any(
        root.is_relative_to(project) and top in _list_names(distribution, root)
        for distribution, project in _list_editable()
    )


@cache
def _list_editable() -> tuple[tuple[Distribution, Path], ...]:
    """The distributions that are installed from a folder, with that folder; gapsweep is not."""
    found = []
    for distribution in distributions():
        text = distribution.read_text("direct_url.json")
        said = json.loads(text) if text else {}
        name = distribution.metadata["Name"]
        if said.get("dir_info", {}).get("editable") and name != "gapsweep":
            found.append((distribution, Path(unquote(urlsplit(said["url"]).path)).resolve()))
    return tuple(found)


def _list_names(distribution: Distribution, root: Path) -> set[str]:
    """The modules that a distribution says it has, else the packages in its folder."""
    said = distribution.read_text("top_level.txt")
    if said is not None:
        return set(said.split())
    return {p.parent.name for p in root.glob("*/__init__.py")}


class _Finder:
    """Finds modules, each once. ``folders`` are those of the user's code."""

    def __init__(self, folders: Sequence[Path | str]) -> None:
        self._own = {Path(f).resolve() for f in folders}
        self._known: dict[str, tuple[CodeFile, Sequence[str]] | None] = {}

    def find(self, name: str) -> tuple[CodeFile, ...]:
        """The module after its parents; ends before the first that does not exist."""
        found: list[CodeFile] = []
        places: Sequence[str] | None = None
        parts = name.split(".")
        for count in range(1, len(parts) + 1):
            full = ".".join(parts[:count])
            if full not in self._known:
                self._known[full] = self._look_for(full, places)
            known = self._known[full]
            if known is None:
                break
            file, places = known
            found.append(file)
        return tuple(found)

    def find_own(self, name: str) -> tuple[CodeFile, ...]:
        """The same of the user's code alone; nothing is looked for in other packages."""
        top = self.find(name.partition(".")[0])
        if not top or top[0].origin is not Origin.USER:
            return ()
        return tuple(f for f in self.find(name) if f.origin is Origin.USER)

    def _look_for(
        self, name: str, places: Sequence[str] | None
    ) -> tuple[CodeFile, Sequence[str]] | None:
        spec = _find_spec(name, places)
        if spec is None:
            return None
        return _describe(name, spec, self._own), list(spec.submodule_search_locations or ())


def _list_imported(file: CodeFile, finder: _Finder, *, whole: bool) -> Iterator[str]:
    """What a file of the user's imports; of a ``whole`` package every module.

    Every module counts too of a package that imports some by names that it computes, and of one
    from which ``*`` is imported.
    """
    imports = read_imports(Path(file.file), file.module)
    yield from imports.names
    packages = [file] if whole or imports.computed else []
    packages += [f for name in imports.stars for f in finder.find_own(name)[-1:]]
    for package in packages:
        source = Path(package.file)
        if source.name == "__init__.py":
            yield from list_modules_below(package.module, source.parent)


def _digest(file: str) -> str:
    try:
        return hashlib.sha256(Path(file).read_bytes()).hexdigest()
    except OSError:
        return ""
