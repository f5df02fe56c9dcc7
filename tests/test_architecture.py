"""Imports point down: search_spaces, then trainables, then service."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("search_spaces", "trainables", "service")
FORBIDDEN = {
    "search_spaces": {"torch", "ray", "mlflow", "trainables", "service"},
    "trainables": {"ray", "mlflow", "sqlalchemy", "optuna", "search_spaces", "service"},
    "service": {"tests"},
}
NO_RAY = (
    "service/tuning/session.py",
    "service/tuning/worker.py",
    "service/tuning/inventory.py",
    "service/records.py",
    "service/spec.py",
    "service/report/",
)


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("package", PACKAGES)
def test_no_import_points_up(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    found = {
        (str(path.relative_to(ROOT)), name)
        for path in files
        for name in _imports(path)
        if name.partition(".")[0] in FORBIDDEN[package]
    }
    assert not found


def test_only_the_store_knows_sql() -> None:
    for path in sorted((ROOT / "service").rglob("*.py")):
        name = str(path.relative_to(ROOT))
        if not name.startswith("service/store/"):
            found = {i.partition(".")[0] for i in _imports(path)}
            assert not found & {"sqlalchemy", "alembic", "psycopg"}, name


def test_only_the_process_knows_ranks() -> None:
    files = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    knowing = {
        str(path.relative_to(ROOT))
        for path in files
        if any(name.startswith("torch.distributed") for name in _imports(path))
    }
    assert knowing == {"trainables/process.py"}


def test_of_the_service_only_one_file_speaks_to_a_cluster() -> None:
    outside = [p for p in (ROOT / "service").rglob("*.py") if "tuning" not in p.parts]
    knowing = {
        str(path.relative_to(ROOT))
        for path in outside
        if any(name.partition(".")[0] == "ray" for name in _imports(path))
    }
    assert knowing == {"service/jobs/ray_jobs.py"}


def test_only_the_bridge_and_its_neighbours_know_ray() -> None:
    for path in sorted((ROOT / "service").rglob("*.py")):
        name = str(path.relative_to(ROOT))
        if name.startswith(NO_RAY):
            assert not any(i.partition(".")[0] == "ray" for i in _imports(path)), name
