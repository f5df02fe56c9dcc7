"""A home on this machine with damaged sweeps: one row each, the others as they are."""

from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path

import pytest

from service.base.errors import DamagedFileError, GapsweepError, NotReadyError
from service.cli.local import report
from service.cli.local_list import build_list
from service.report.console import open_console
from service.run.best_model import read_weights
from service.study.journals import join_journals
from service.sweep.home import FORMAT, Home, SweepFolder
from service.sweep.load import find_summary, read_current_summary, read_state, read_sweep
from service.sweep.sweep_record import SweepState
from service.tracking.optuna_dashboard import list_journals
from tests.strange_files import STRANGE, Maker

KEPT = Path(__file__).parents[1] / "data" / "sweep_of_format_2"
READ = ("format", "spec.yaml", "summary.json")
NO_SUMMARY = ("study.journal", "history.jsonl")
"""Files that are read where there is no summary yet."""
CONTENT: dict[str, Maker] = {
    "empty": lambda path: path.write_bytes(b""),
    "binary": lambda path: path.write_bytes(os.urandom(4_000)),
    "nested": lambda path: path.write_bytes(b"[" * 100_000 + b"\n"),
    "a list": lambda path: path.write_bytes(b"[1, 2]\n"),
    "wrong types": lambda path: path.write_bytes(
        b'{"state": 1, "op_code": "x", "trial": [], "space": 3}\n'
    ),
}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path)
    for number in range(3):
        shutil.copytree(KEPT, made.path / "sweeps" / f"whole-{number}")
    return made


def damage(home: Home, name: str, make: Maker) -> SweepFolder:
    folder = home.sweep("damaged")
    shutil.copytree(KEPT, folder.path)
    if name in NO_SUMMARY:
        folder.summary.unlink()
    (folder.path / name).unlink()
    make(folder.path / name)
    return folder


def rows_of(home: Home) -> dict[str, str]:
    """What `list` says of each sweep: the rest of its row, and of a damaged one why."""
    table, damaged = build_list(home)
    console = open_console(io.StringIO(), width=400)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    rows = dict(line.split(maxsplit=1) for line in console.file.getvalue().splitlines()[1:])
    shown = {name: rest.strip() for name, rest in rows.items()}
    return {name: f"{r} {damaged}" if r == "damaged" else r for name, r in shown.items()}


@pytest.mark.parametrize("name", READ + NO_SUMMARY)
def test_a_damaged_file_is_one_damaged_row_that_names_it(home: Home, name: str) -> None:
    for kind, make in {**STRANGE, **CONTENT}.items():
        if (kind, name) in (("empty", "study.journal"), ("empty", "history.jsonl")):
            continue  # a sweep that has not started, and one of which no epoch is known
        kept = None
        folder = damage(home, name, lambda path, make=make: make(path))  # type: ignore[misc]  # a lambda's default has no type
        rows = rows_of(home)
        assert rows["damaged"].startswith("damaged ["), (kind, rows)
        assert f"damaged/{name} " in rows["damaged"], (kind, rows)
        assert all(rows[f"whole-{n}"].startswith("succeeded") for n in range(3)), kind
        shutil.rmtree(folder.path)
        del kept


def test_whatever_lies_among_the_sweeps_is_a_row(home: Home, tmp_path: Path) -> None:
    sweeps = home.path / "sweeps"
    (sweeps / "a-file").write_text("x", encoding="utf-8")
    (tmp_path / "elsewhere").mkdir()
    (sweeps / "a-link").symlink_to(tmp_path / "elsewhere")
    (sweeps / "new").mkdir()
    (sweeps / ".hidden").mkdir()
    damage(home, "format", lambda path: path.write_text(f"{FORMAT + 1}\n", encoding="utf-8"))
    lost = home.sweep("lost")
    shutil.copytree(KEPT, lost.path)
    lost.spec.unlink()
    rows = rows_of(home)
    assert set(rows) == {
        "whole-0",
        "whole-1",
        "whole-2",
        "a-file",
        "a-link",
        "new",
        "damaged",
        "lost",
    }
    assert "a-file is a file and no folder" in rows["a-file"]
    assert "a-link is a link" in rows["a-link"]
    assert rows["new"] == "not started"
    assert "a newer gapsweep" in rows["damaged"]
    assert "lost/spec.yaml is missing" in rows["lost"]


def test_a_file_without_permission_is_named(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = damage(home, "summary.json", lambda path: path.write_text("{}", encoding="utf-8"))
    really = os.open

    def refuse(name: str, *rest: int, **more: int) -> int:
        if name == "summary.json" and os.fstat(more["dir_fd"]).st_ino == folder.path.stat().st_ino:
            raise PermissionError(13, "Permission denied")
        return really(name, *rest, **more)

    monkeypatch.setattr(os, "open", refuse)  # this test may run as root, who may read everything
    assert "damaged/summary.json cannot be opened (Permission denied)" in rows_of(home)["damaged"]


def test_a_journal_that_ends_within_a_line_is_read_up_to_it(home: Home) -> None:
    folder = home.sweep("whole-0")
    folder.summary.unlink()
    whole = rows_of(home)["whole-0"]
    for path in (folder.journal, folder.history):
        with path.open("ab") as file:
            file.write(b'{"op_code": 4, "half')
    assert rows_of(home)["whole-0"] == whole


@pytest.mark.parametrize(
    "line",
    [
        b"not json",
        b"null",
        b'{"op_code": 0, "study_name": "another", "directions": [1]}',
        b'{"op_code": 1, "study_id": 0}',
        b'{"op_code": 99}',
        b'{"op_code": 6, "trial_id": 99, "state": 1, "values": [1.0]}',
        b'{"op_code": 2, "study_id": 7, "user_attr": {"a": 1}}',
        b'{"op_code": 4, "study_id": 0}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_journal_hides_no_other_study(home: Home, line: bytes) -> None:
    with home.sweep("whole-0").journal.open("ab") as file:
        file.write(line + b"\n" + b'{"op_code": 4, "study_id": 0, "datetime_start": null}\n')
    storage = join_journals(lambda: list_journals(home))
    found = {
        s.study_name: len(storage.get_all_trials(s._study_id)) for s in storage.get_all_studies()
    }
    count = found["whole-1"]
    assert count > 5
    assert found == {"whole-0": count, "whole-1": count, "whole-2": count}


def test_the_state_is_read_without_writing(home: Home, tmp_path: Path) -> None:
    folder = home.sweep("whole-0")
    victim = tmp_path / "victim"
    victim.write_text("precious", encoding="utf-8")
    (folder.path / "lock").symlink_to(victim)
    with pytest.raises(DamagedFileError, match="lock is a link"):
        read_state(folder)
    assert victim.read_text(encoding="utf-8") == "precious"
    (folder.path / "lock").unlink()
    assert read_state(folder) is SweepState.SUCCEEDED
    assert not (folder.path / "lock").exists()
    with folder.lock():
        assert read_state(folder) is SweepState.RUNNING


def test_latest_is_the_newest_sweep_with_a_spec(home: Home) -> None:
    (home.path / "sweeps" / "zz-new").mkdir()
    assert home.find("latest").sweep_id.startswith("whole")
    folder = damage(home, "spec.yaml", lambda path: path.write_text("a: [", encoding="utf-8"))
    with pytest.raises(GapsweepError, match=r"damaged/spec\.yaml is damaged .*not valid YAML"):
        read_sweep(home.find("dam"))
    assert find_summary(folder) == read_current_summary(folder)


def test_a_summary_of_another_version_with_more_keys_is_read(home: Home) -> None:
    folder = home.sweep("whole-0")
    kept = json.loads(folder.summary.read_text(encoding="utf-8"))
    folder.summary.write_text(json.dumps({**kept, "new": {"a": 1}}), encoding="utf-8")
    assert read_current_summary(folder).sweep_id == kept["sweep_id"]


def test_weights_that_cannot_be_used_are_named(home: Home) -> None:
    folder = home.sweep("whole-0")
    path = folder.best_weights(3)
    path.parent.mkdir(parents=True)
    for make in (STRANGE["link"], STRANGE["pipe"], CONTENT["binary"], CONTENT["empty"]):
        make(path)
        with pytest.raises(DamagedFileError, match=r"best\.pt (is|has)"):
            read_weights(folder, 3)
        path.unlink()
        (path.parent / ".secret").unlink(missing_ok=True)
    with pytest.raises(NotReadyError, match="no completed trial with weights"):
        read_weights(folder, 3)


def test_a_report_that_cannot_be_kept_is_shown(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home.sweep("whole-0").report.mkdir()  # root may write anywhere, but replaces no folder
    report("whole-0", home=home.path)
    shown = capsys.readouterr()
    assert "report.html is not updated" in shown.err
    assert "Baseline, control and best" in shown.out
