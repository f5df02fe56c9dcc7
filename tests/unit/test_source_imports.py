"""Which modules a source imports, and which files of the user's code follow from it."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pytest

from trainables.config.code_files import find_code_files
from trainables.config.source_imports import Imports, read_imports


def write(folder: Path, **files: str) -> None:
    """Files by their modules' names with ``__`` for dots; ``init`` stands for ``__init__``."""
    for name, source in files.items():
        path = folder.joinpath(*name.split("__")).with_suffix(".py")
        path = path.with_name("__init__.py") if path.stem == "init" else path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return tmp_path


def found(own: Path, *names: str) -> list[str]:
    return [f.module for f in find_code_files(names, [own])]


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import a, b.c as d", ("a", "b.c")),
        ("from a import b, c", ("a", "a.b", "a.c")),
        ("def f():\n    import late", ("late",)),
        ("from . import b", ("pack.sub", "pack.sub.b")),
        ("from .b import c", ("pack.sub.b", "pack.sub.b.c")),
        ("from .. import b", ("pack", "pack.b")),
        ("from ..b import c", ("pack.b", "pack.b.c")),
        ("from .... import beyond", ()),
        ("def (", ()),
        ("\0", ()),
    ],
)
def test_imports_are_read_from_source(tmp_path: Path, source: str, names: tuple[str, ...]) -> None:
    (tmp_path / "mine.py").write_text(source)
    assert read_imports(tmp_path / "mine.py", "pack.sub.mine") == Imports(names)


def test_a_package_imports_relative_to_itself(tmp_path: Path) -> None:
    (tmp_path / "__init__.py").write_text("from .b import *\n")
    imports = read_imports(tmp_path / "__init__.py", "pack")
    assert imports == Imports(("pack.b",), stars=("pack.b",))


def test_a_strange_escape_in_a_string_is_not_reported(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import a\nx = '\\d'\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_imports(tmp_path / "mine.py", "mine").names == ("a",)


def test_other_modules_of_a_package_do_not_belong_to_a_module_of_it(own: Path) -> None:
    write(own, lab__init="", lab__nets="from . import layers", lab__layers="", lab__plots="")
    assert found(own, "lab.nets") == ["lab", "lab.layers", "lab.nets"]
    assert found(own, "lab") == ["lab", "lab.layers", "lab.nets", "lab.plots"]


@pytest.mark.parametrize(
    "source",
    [
        "import importlib\nimportlib.import_module('lab.' + 'parts')",
        "from pkgutil import iter_modules",
        "__import__('lab.parts')",
    ],
)
def test_all_modules_belong_to_a_package_that_computes_imports(own: Path, source: str) -> None:
    write(own, lab__init=source, lab__nets="", lab__parts="")
    assert found(own, "lab.nets") == ["lab", "lab.nets", "lab.parts"]


def test_all_modules_belong_to_a_package_from_which_all_is_imported(own: Path) -> None:
    write(own, lab__init="__all__ = ['nets']", lab__nets="", mine="from lab import *")
    assert found(own, "mine") == ["lab", "lab.nets", "mine"]


def test_a_module_that_cannot_be_parsed_hides_no_other(own: Path) -> None:
    write(
        own, mine="import broken\nimport helper", broken="def (", helper="import deeper", deeper=""
    )
    assert found(own, "mine") == ["broken", "deeper", "helper", "mine"]


def test_modules_that_import_each_other_end(own: Path) -> None:
    write(own, mine="import other", other="import mine")
    assert found(own, "mine") == ["mine", "other"]
