"""A backup that is taken while sweeps run: what it brings back ends as if nothing had happened."""

from __future__ import annotations

import io
import os
import shutil
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import urlsplit

import pytest

from service.client.job_states import JobState
from service.server.backup import read_backup, write_backup
from service.server.driver_access import Handover
from service.server.store.progress_store import ProgressStore
from service.sweep.home import Home
from service.sweep.load import read_sweep
from tests.commands import Done, gapsweep
from tests.drivers import api_over_http, start_local_driver
from tests.faults.kills import Sessions, build_spec, check_runs, compare
from tests.houses import House
from tests.patience import patience, wait_for

pytestmark = pytest.mark.usefixtures("without_plots")

KEPT = Path(__file__).parents[1] / "data" / "sweep_of_format_2"
SPEC = build_spec(1, budget={"trials": 6}, confirm={"top_k": 1, "replicates": 5, "trainings": 10})


def save(home: Path, file: Path) -> Path:
    with file.open("wb") as out:
        write_backup(Home(home), out)
    return file


def bring_back(file: Path, home: Path) -> Home:
    with file.open("rb") as source:
        read_backup(Home(home), source)
    return Home(home)


def test_a_sweep_that_ran_meanwhile_continues_to_the_same_trials_best_and_answer(
    tmp_path: Path,
) -> None:
    """Backups at several moments of one life, each restored and resumed."""
    whole = Sessions(tmp_path / "whole", SPEC)
    process = whole.start()
    files = []
    for entries in (40, 110):
        wait_for(lambda n=entries: process.poll() is not None or whole.count_entries() >= n, 120)
        files.append(save(whole.home.path, tmp_path / f"{entries}.tar.gz"))
    assert process.poll() is None, "it had ended before the last backup"
    assert process.wait(patience(300)) == 0
    expected = whole.read()
    for number, file in enumerate(files):
        home = bring_back(file, tmp_path / f"restored {number}")
        done = gapsweep("resume", "latest", "--json", env={"GAPSWEEP_HOME": str(home.path)})
        assert done.returncode == 0, done.stderr
        (folder,) = home.list_all()
        found = read_sweep(folder)[2]
        assert list(compare(found, expected)) == []
        assert list(check_runs(home, found)) == []


@contextmanager
def opened(folder: Path) -> Iterator[House]:
    """A service's home; its API answers over HTTP."""
    folder.mkdir(exist_ok=True)
    with (
        House.opened(folder) as house,
        api_over_http(house.service, urlsplit(house.url_of_api).port),
    ):
        yield house


def count_ended(house: House) -> int:
    """How many trials the store knows to have ended."""
    return sum(t.state.has_ended for t in ProgressStore(house.database).trials("digits-1"))


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    """A home whose sweep ended undisturbed, and two backups of its life.

    However late they are taken, the service records the sweep's end after them.
    """
    folder = tmp_path_factory.mktemp("service")
    files, saved, end = [], Event(), ProgressStore.end

    def end_after_backups(*arguments: Any) -> None:
        assert saved.wait(patience(120))
        end(*arguments)

    with opened(folder / "home") as house, pytest.MonkeyPatch.context() as patch:
        patch.setattr(ProgressStore, "end", end_after_backups)
        house.submit(**{**SPEC, "name": "digits"})
        process = start_local_driver(house.home.path, "digits-1", 1)
        for ended in (1, 4):
            wait_for(lambda n=ended: process.poll() is not None or count_ended(house) >= n, 120)
            files.append(save(house.home.path, folder / f"{ended}.tar.gz"))
        assert process.poll() is None, "it failed before the last backup"
        saved.set()
        assert process.wait(patience(300)) == 0
        assert house.sweeps.get("digits-1").state is JobState.SUCCEEDED
    return folder / "home", files


class TestAService:
    """The service's database and the folders are of different moments."""

    @pytest.mark.parametrize("case", ["as taken", "the folder is ahead", "the folder is behind"])
    def test_a_restored_sweep_ends_with_its_trials_counted_once(
        self, lives: tuple[Path, list[Path]], tmp_path: Path, case: str
    ) -> None:
        undisturbed, (early, late) = lives
        home = bring_back(late if case == "the folder is ahead" else early, tmp_path / "home")
        if case != "as taken":
            other = early if case == "the folder is ahead" else late
            database = bring_back(other, tmp_path / "other").path / "service.db"
            shutil.copy(database, home.path / "service.db")
        with opened(home.path) as house:
            job = house.sweeps.get("digits-1")
            assert (job.state, job.attempt) == (JobState.RUNNING, 1)
            house.sweeps.end_attempt("digits-1", 1, JobState.QUEUED, "restarted", "reconciler")
            house.launch(attempt=2)
            uri = house.url_of_api
            Handover(house.home.path, house.service.sweep_tokens, uri, "off").give(
                house.sweeps.get("digits-1")
            )
            driver = start_local_driver(house.home.path, "digits-1", 2)
            assert driver.wait(patience(300)) == 0
            assert house.sweeps.get("digits-1").state is JobState.SUCCEEDED
            found = read_sweep(house.folder)[2]
            expected = read_sweep(Home(undisturbed).sweep("digits-1"))[2]
            assert list(compare(found, expected)) == []
            rows = ProgressStore(house.database).trials("digits-1")
            facts = [(t.number, t.state, t.role, t.value) for t in found.trials]
            assert [(t.number, t.state, t.role, t.value) for t in rows] == facts


class TestFile:
    """What is in it, and what is no backup."""

    def house(self, folder: Path) -> Path:
        """A home with two sweeps, a bundle, data, and what is not to be in a backup."""
        for name in ("digits-1", "digits-2"):
            shutil.copytree(KEPT, folder / "sweeps" / name)
        (folder / "bundles" / ("a" * 64)).mkdir(parents=True)
        (folder / "data").mkdir()
        (folder / "data" / "table.csv").write_text("x\n1\n")
        (folder / "ray.log").write_text("log")
        sweep = folder / "sweeps" / "digits-1"
        (sweep / "driver.json").write_text("a token")
        (sweep / "lock").write_text("")
        (sweep / "driver.log").write_text("attempt 1\n")
        (sweep / "link").symlink_to("/etc/passwd")
        os.mkfifo(sweep / "pipe")
        (folder / "sweeps" / ".deleting-digits-3").mkdir()
        return folder

    def command(self, name: str, file: Path, home: Path) -> Done:
        return gapsweep(name, str(file), "--home", str(home))

    def test_it_has_what_is_kept_and_neither_tokens_nor_links(self, tmp_path: Path) -> None:
        home, file = self.house(tmp_path / "home"), tmp_path / "home.tar.gz"
        done = self.command("backup", file, home)
        assert done.returncode == 0, done.stderr
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        done = self.command("restore", file, tmp_path / "new")
        assert done.returncode == 0, done.stderr
        new = tmp_path / "new"
        left_out = {"driver.json", "lock", "link", "pipe", "ray.log", ".deleting-digits-3"}
        before = {p.relative_to(home) for p in home.rglob("*") if p.name not in left_out}
        after = {p.relative_to(new) for p in new.rglob("*")}
        assert after == before
        assert (new / "data" / "table.csv").read_text() == "x\n1\n"
        for name in ("study.journal", "history.jsonl", "summary.json"):
            kept = (home / "sweeps" / "digits-2" / name).read_bytes()
            assert (new / "sweeps" / "digits-2" / name).read_bytes() == kept
        assert gapsweep("report", "digits-2", "--home", str(new)).returncode == 0

    def test_what_belongs_to_trials_after_the_journal_is_left_out(self, tmp_path: Path) -> None:
        home = self.house(tmp_path / "home")
        sweep = Home(home).sweep("digits-1")
        lines = sweep.journal.read_bytes().splitlines(keepends=True)
        started = [
            n for n, line in enumerate(lines) if b'"op_code": 4' in line or b'"op_code":4' in line
        ]
        sweep.journal.write_bytes(b"".join(lines[: started[6]]) + b'{"op_code": 4, "torn')
        new = bring_back(save(home, tmp_path / "b.tar.gz"), tmp_path / "new").sweep("digits-1")
        assert new.journal.read_bytes() == b"".join(lines[: started[6]])
        assert sorted(p.stem for p in (new.path / "test_rows").iterdir()) == ["5"]
        assert b'"trial": 5' in new.history.read_bytes()
        assert b'"trial": 6' not in new.history.read_bytes()

    def test_a_home_that_has_something_is_left_as_it_is(self, tmp_path: Path) -> None:
        home = self.house(tmp_path / "home")
        file = save(home, tmp_path / "b.tar.gz")
        refused = self.command("restore", file, home)
        assert refused.returncode == 2
        assert "restore into an empty folder" in " ".join(refused.stderr.split())
        again = self.command("backup", file, home)
        assert (again.returncode, "name another file" in again.stderr) == (2, True)

    def test_what_is_no_backup_is_refused_and_nothing_is_left(self, tmp_path: Path) -> None:
        file = save(self.house(tmp_path / "home"), tmp_path / "b.tar.gz")
        cut, words, other = (tmp_path / name for name in ("cut", "words", "other"))
        cut.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        words.write_text("no archive")
        with tarfile.open(other, "w:gz") as tar:
            tar.add(words, "file")
        for bad in (cut, words, other, tmp_path / "nothing"):
            done = self.command("restore", bad, tmp_path / "new")
            assert done.returncode == 2, bad
            assert len(done.stderr.splitlines()) <= 3, done.stderr
            assert [p for p in (tmp_path / "new").rglob("*") if p.name != "sweeps"] == []
        assert self.command("restore", file, tmp_path / "new").returncode == 0

    @pytest.mark.parametrize("kind", ["link", "parent", "absolute", "twice"])
    def test_nothing_is_written_outside_of_the_folder(self, tmp_path: Path, kind: str) -> None:
        file = tmp_path / "strange.tar.gz"
        label = b'{"format": 1, "version": "0.1.0"}'
        names = {"parent": "../outside", "absolute": str(tmp_path / "outside")}
        with tarfile.open(file, "w:gz") as tar:
            info = tarfile.TarInfo("gapsweep-backup.json")
            info.size = len(label)
            tar.addfile(info, io.BytesIO(label))
            strange = tarfile.TarInfo(names.get(kind, "sweeps/x"))
            if kind == "link":
                strange.type, strange.linkname = tarfile.SYMTYPE, str(tmp_path)
            for _ in range(2 if kind == "twice" else 1):
                tar.addfile(strange)
        done = self.command("restore", file, tmp_path / "new")
        assert done.returncode == 2, done.stderr
        assert not (tmp_path / "outside").exists()
        assert [p.name for p in (tmp_path / "new").iterdir()] == ["sweeps"]
