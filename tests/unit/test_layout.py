"""What helps tests is in helper modules: no test module imports another one."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from alembic.script import ScriptDirectory

from service.server.store.database import alembic_configuration

TESTS = Path(__file__).parents[1]
FOLDERS = [path.name for path in TESTS.iterdir() if path.is_dir()]


def imported(module: Path) -> Iterator[str]:
    """Every module and every name of a package that a module imports, if it names a test folder."""
    text = module.read_text(encoding="utf-8")
    if not any(f"tests.{folder}" in text for folder in FOLDERS):
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{name.name}" for name in node.names)


def is_a_test_module(name: str) -> bool:
    return (
        name.startswith("tests.")
        and (TESTS.parent / f"{name.replace('.', '/')}.py").is_file()
        and (name.rpartition(".")[2].startswith("test_"))
    )


def test_no_module_of_the_tests_imports_a_test_module() -> None:
    modules = sorted(TESTS.rglob("*.py"))
    assert Path(__file__) in modules
    found = {
        (str(m.relative_to(TESTS)), i) for m in modules for i in imported(m) if is_a_test_module(i)
    }
    assert found == set()


def test_an_import_of_a_test_module_would_be_seen(tmp_path: Path) -> None:
    module = tmp_path / "test_other.py"
    for line in ("from tests.unit import test_layout", "from tests.unit.test_layout import TESTS"):
        module.write_text(line)
        assert [i for i in imported(module) if is_a_test_module(i)] == ["tests.unit.test_layout"]


def test_no_two_files_of_the_product_have_the_same_name() -> None:
    """``config/`` has what a spec says of the module of the same name beside it."""
    of_one_kind = {"__init__", "__main__", "app", "base", "build", "compat", "errors"}
    apart = ("trainables/config/", "trainables/data/splitters/", "trainables/loops/lightning/")
    apart += ("trainables/loops/huggingface/",)
    root, found = TESTS.parent, Counter[str]()
    for room in ("service", "trainables", "search_spaces"):
        for path in (p.relative_to(root) for p in (root / room).rglob("*.py")):
            if path.stem not in of_one_kind and not str(path).startswith(apart):
                found[path.stem] += 1
    assert len(found) > 200
    assert [name for name, count in found.items() if count > 1] == []


def test_every_migration_follows_another_so_that_they_are_one_line() -> None:
    scripts = ScriptDirectory.from_config(alembic_configuration())
    files = list(Path(scripts.versions).glob("[0-9]*.py"))
    assert len(list(scripts.walk_revisions())) == len(files)
    assert len(scripts.get_heads()) == 1
