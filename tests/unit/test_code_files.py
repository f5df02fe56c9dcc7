"""Where a module comes from, without running any of its code."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

from service.base.errors import DamagedFileError
from service.run.user_code import fingerprint_code
from service.spec.file import parse_spec
from service.sweep.code_record import CodeRecord, read_code, record_code
from service.sweep.home import SweepFolder
from tests.worlds import SPEC
from trainables.config.code_files import CodeFile, Origin, find_code_files, find_module


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a user's modules on the path; each of them must not run."""
    folder = tmp_path / "own"
    (folder / "ownpack" / "parts").mkdir(parents=True)
    dies = "raise SystemExit('this ran')\n"
    (folder / "ownpack" / "__init__.py").write_text(dies)
    (folder / "ownpack" / "nets.py").write_text(dies)
    (folder / "ownpack" / "parts" / "layers.py").write_text(dies)
    (folder / "ownsingle.py").write_text("import ownhelper, torch, missing_thing\n" + dies)
    (folder / "ownhelper.py").write_text("from ownpack import nets\n" + dies)
    (folder / "ownbroken.py").write_text("def (\n")
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    return folder


def by_name(files: tuple[CodeFile, ...]) -> dict[str, Path]:
    return {f.module: Path(f.file) for f in files}


def test_a_module_is_found_with_its_parents_and_its_digest_and_does_not_run(own: Path) -> None:
    package, module = find_module("ownpack.nets", [own])
    assert (package.module, package.origin) == ("ownpack", Origin.USER)
    assert (module.module, module.origin) == ("ownpack.nets", Origin.USER)
    assert Path(module.file) == own / "ownpack" / "nets.py"
    assert Path(module.folder) == own
    assert module.digest == hashlib.sha256((own / "ownpack" / "nets.py").read_bytes()).hexdigest()
    assert "ownpack" not in sys.modules


@pytest.mark.parametrize(
    ("name", "there"),
    [("nothing_here", 0), ("ownpack.no.such", 1), ("ownsingle.inside", 1), ("json.x", 1)],
)
def test_what_does_not_exist_is_not_found_and_its_parents_are(
    own: Path, name: str, there: int
) -> None:
    assert [f.module for f in find_module(name, [own])] == name.split(".")[:there]
    assert find_code_files([name], [own]) == ()


@pytest.mark.parametrize(
    ("name", "origin"),
    [
        ("json", Origin.INSTALLED),
        ("sys", Origin.INSTALLED),
        ("math", Origin.INSTALLED),
        ("optuna.samplers", Origin.INSTALLED),
        ("numpy.linalg", Origin.INSTALLED),
        ("google.protobuf", Origin.INSTALLED),
        ("trainables.models", Origin.GAPSWEEP),
        ("service.run.user_code", Origin.GAPSWEEP),
        ("gapsweep", Origin.GAPSWEEP),
        ("ownpack", Origin.USER),
        ("ownpack.parts.layers", Origin.USER),
    ],
)
def test_whose_a_module_is(own: Path, name: str, origin: Origin) -> None:
    assert {f.origin for f in find_module(name, [own])} == {origin}


def test_a_module_of_another_folder_is_nobodys(own: Path, tmp_path: Path) -> None:
    assert [f.origin for f in find_module("ownsingle", [])] == [Origin.UNKNOWN]
    assert [f.origin for f in find_module("ownsingle", [tmp_path])] == [Origin.UNKNOWN]


def test_a_folder_that_two_places_make_up_is_nobodys(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in (own, tmp_path / "other"):
        (place / "ownspread").mkdir(parents=True)
    (own / "ownspread" / "one.py").touch()
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "other")])
    assert [f.origin for f in find_module("ownspread.one", [own])] == [
        Origin.UNKNOWN,
        Origin.USER,
    ]


def test_one_that_was_imported_from_elsewhere_is_described_as_it_was(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ownearlier.py").write_text("x = 1\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    __import__("ownearlier")
    (own / "ownearlier.py").write_text("x = 2\n")
    monkeypatch.setattr(sys, "path", [str(own), *sys.path])
    (found,) = find_module("ownearlier", [own])
    assert (found.origin, Path(found.folder)) == (Origin.UNKNOWN, tmp_path)


def test_what_a_module_imports_of_the_users_own_belongs_to_its_code(own: Path) -> None:
    found = by_name(find_code_files(["ownsingle"], [own]))
    assert found == {
        "ownhelper": own / "ownhelper.py",
        "ownpack": own / "ownpack" / "__init__.py",
        "ownpack.nets": own / "ownpack" / "nets.py",
        "ownsingle": own / "ownsingle.py",
    }
    assert set(by_name(find_code_files(["ownpack.nets"], [own]))) >= {"ownpack", "ownpack.nets"}
    assert list(by_name(find_code_files(["ownbroken", "nothing_here"], [own]))) == ["ownbroken"]


def test_the_code_of_a_spec_changes_with_every_file_that_it_imports(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(own)
    raw = {**SPEC, "data": {"name": "ownsingle:splits"}}
    spec = parse_spec(raw, "the spec", own)
    before = fingerprint_code(spec)
    assert {"trainables.models", "ownsingle", "ownhelper"} <= {f.module for f in before}
    assert fingerprint_code(spec, [own]) == fingerprint_code(spec, [own])
    (own / "ownhelper.py").write_text("x = 3\n")
    assert fingerprint_code(spec) != before


def test_a_sweeps_record_of_its_code_is_read_back_and_says_what_is_the_users(
    own: Path, tmp_path: Path
) -> None:
    folder = SweepFolder(tmp_path / "sweep-1")
    folder.path.mkdir()
    assert read_code(folder) is None
    files = find_code_files(["ownhelper", "json"], [own])
    record_code(folder, files, "b" * 64)
    record = read_code(folder)
    assert record == CodeRecord.of(files, "b" * 64)
    assert {f.module: f.origin for f in record.files} == {
        "json": "installed",
        "ownhelper": "user",
        "ownpack": "user",
        "ownpack.nets": "user",
    }
    assert record.describe().startswith("ownhelper, ownpack, ownpack.nets (SHA-256 ")
    assert record.describe().endswith(", bundle bbbbbbbbbbbb)")
    (own / "ownpack" / "nets.py").write_text("x = 2\n")
    assert CodeRecord.of(find_code_files(["ownhelper"], [own]), None).digest != record.digest
    assert CodeRecord.of(find_code_files(["json"], [own]), None).describe() == ""
    folder.code.write_text("{")
    with pytest.raises(DamagedFileError, match=r"code\.json is not a record of code"):
        read_code(folder)


def test_nobody_can_write_where_the_image_starts_python() -> None:
    lines = (Path(__file__).parents[2] / "docker" / "Dockerfile").read_text().splitlines()
    last = max(n for n, line in enumerate(lines) if line.startswith("FROM "))
    assert [line for line in lines[last:] if line.startswith("WORKDIR")] == ["WORKDIR /empty"]
    text = "\n".join(lines[last:])
    assert "install -d -m 555 /empty" in text
    assert "PYTHONSAFEPATH=1" in text
