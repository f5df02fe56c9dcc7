"""The files of sweeps: the home folder, a folder per sweep, its format, its lock."""

from __future__ import annotations

import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import BinaryIO

from filelock import FileLock, Timeout

from service.base.disk import is_disk_full
from service.base.errors import (
    ConflictError,
    DamagedFileError,
    DiskFullError,
    HomeError,
    SweepBusyError,
)
from service.base.sweep_ids import LATEST, resolve_sweep
from service.base.untrusted_files import (
    append_untrusted,
    is_untrusted_file,
    open_untrusted,
    read_untrusted,
)
from service.base.uris import build_sqlite_url
from service.sweep.sweep_files import OWN_LIMITS, Limits

FORMAT = 2
"""What the files of a sweep's folder mean; one more whenever an older gapsweep would misread one.

Folders of all smaller formats can be read. A folder without a number has format 1.
"""


@dataclass(frozen=True)
class SweepFolder:
    """The files of one sweep.

    Users' code and other users may have written them: they are read by the methods of this class
    only, which open no link and no special file, and nothing larger than ``limits``.
    """

    path: Path
    limits: Limits = field(default_factory=lambda: OWN_LIMITS, compare=False, repr=False)

    @property
    def sweep_id(self) -> str:
        """The sweep's id, which is the folder's name."""
        return self.path.name

    def open(self, path: Path) -> BinaryIO:
        """Open one of the folder's files for reading.

        Raises:
            FileNotFoundError: there is no such file.
            DamagedFileError: it is a link or a special file, too large, or cannot be read.
        """
        limit = self.limits.get(path.name, self.limits[""])
        return open_untrusted(self.path.parent, self._find_place(path), limit)

    def read(self, path: Path) -> bytes:
        """Read one of the folder's files.

        Raises:
            FileNotFoundError, DamagedFileError: as :meth:`open`.
        """
        limit = self.limits.get(path.name, self.limits[""])
        return read_untrusted(self.path.parent, self._find_place(path), limit)

    def append(self, path: Path) -> BinaryIO:
        """Open one of the folder's files to append to.

        Raises:
            FileNotFoundError, DamagedFileError: as :meth:`open`.
        """
        return append_untrusted(self.path.parent, self._find_place(path))

    def has(self, path: Path) -> bool:
        """Whether :meth:`open` would open a file."""
        return is_untrusted_file(self.path.parent, self._find_place(path))

    def has_nothing_at(self, path: Path) -> bool:
        """Whether nothing lies where one of the folder's files would be, of whatever kind.

        Raises:
            DamagedFileError: the folder is a link, or cannot be read.
        """
        try:
            self.open(path).close()
        except FileNotFoundError:
            return True
        except DamagedFileError:
            if not self.has_plain_folder():
                raise
        return False

    def has_plain_folder(self) -> bool:
        """Whether the sweep's folder is a folder, and no link to one."""
        return self.path.is_dir() and not self.path.is_symlink()

    def _find_place(self, path: Path) -> PurePath:
        """A path from the folder of all sweeps on: the sweep's own folder may be a link, too."""
        return path.relative_to(self.path.parent)

    @property
    def format_file(self) -> Path:
        """The number of the folder's format."""
        return self.path / "format"

    def write_format(self) -> None:
        """Write the current format number into a new folder."""
        self.format_file.write_text(f"{FORMAT}\n", encoding="utf-8")

    def check_format(self) -> None:
        """Check that this version can read the folder.

        Raises:
            ConflictError: a newer gapsweep has written it.
            DamagedFileError: the number cannot be read.
        """
        found = self.read_format()
        if found > FORMAT:
            raise ConflictError(
                f"{self.sweep_id} was written by a newer gapsweep: its folder has format {found}, "
                f"this gapsweep reads formats up to {FORMAT}; upgrade gapsweep and try again"
            )

    def read_format(self) -> int:
        """The number of the folder's format.

        Raises:
            DamagedFileError: the file does not hold one.
        """
        try:
            text = self.read(self.format_file).decode(errors="replace").strip()
        except FileNotFoundError:
            return 1
        if not re.fullmatch("[0-9]{1,9}", text):
            raise DamagedFileError(f"{self.sweep_id}/format must hold a number, not {text!r:.40}")
        return int(text)

    @property
    def spec(self) -> Path:
        """The file of the spec that the sweep runs."""
        return self.path / "spec.yaml"

    @property
    def origin(self) -> Path:
        """The file that lists the folders of the user's own modules, one per line."""
        return self.path / "import_paths"

    def read_import_paths(self) -> tuple[str, ...]:
        """Read the folders in :attr:`origin`; none if the file is missing.

        Raises:
            DamagedFileError: it cannot be read.
        """
        try:
            return tuple(self.read(self.origin).decode().splitlines())
        except FileNotFoundError:
            return ()
        except UnicodeDecodeError:
            raise DamagedFileError(f"{self.sweep_id}/import_paths is not UTF-8 text") from None

    @property
    def code(self) -> Path:
        """The file that records the code of the last session, one JSON object."""
        return self.path / "code.json"

    @property
    def fingerprints(self) -> Path:
        """The file of what the sweep was run on; sweeps of older versions have none."""
        return self.path / "fingerprints.json"

    @property
    def journal(self) -> Path:
        """The file of the study."""
        return self.path / "study.journal"

    @property
    def history(self) -> Path:
        """The file of all epochs, one JSON line each."""
        return self.path / "history.jsonl"

    @property
    def summary(self) -> Path:
        """The file of the summary, one JSON object."""
        return self.path / "summary.json"

    @property
    def report(self) -> Path:
        """The file of the HTML report."""
        return self.path / "report.html"

    @property
    def robustness(self) -> Path:
        """The file of the plot of scores on corrupted inputs; missing if none were measured."""
        return self.path / "robustness.png"

    @property
    def columns(self) -> Path:
        """The file of the input columns that the pick keeps; missing for inputs of no table."""
        return self.path / "input_columns.csv"

    @property
    def asked(self) -> Path:
        """The folder of claims on trials; only sweeps whose trials are asked for have it."""
        return self.path / "asked"

    @property
    def ray_log(self) -> Path:
        """The file of Ray's messages."""
        return self.path / "ray.log"

    @property
    def driver_log(self) -> Path:
        """The log file of the drivers that a service started for the sweep."""
        return self.path / "driver.log"

    @property
    def driver_file(self) -> Path:
        """The file by which the driver of an attempt finds its service, until it has read it."""
        return self.path / "driver.json"

    def trial(self, number: int) -> Path:
        """Return the folder of one trial, which may not exist."""
        return self.path / "trials" / f"{number:05d}"

    def drop_trial(self, number: int) -> None:
        """Delete the files of a trial, if there are any."""
        shutil.rmtree(self.trial(number), ignore_errors=True)

    def files(self, number: int) -> Path:
        """Return the folder of what a user's own loop writes in a trial, which may not exist."""
        return self.trial(number) / "files"

    def best_weights(self, number: int) -> Path:
        """Return the file of a finished trial's kept weights, a plain state dict."""
        return self.trial(number) / "best.pt"

    def control_weights(self, number: int) -> Path:
        """The weights of a training at the epoch that early stopping would have kept."""
        return self.trial(number) / "control.pt"

    def test_rows(self, number: int) -> Path:
        """The metrics of a replicate on every test sample."""
        return self.path / "test_rows" / f"{number}.npz"

    def inspected(self, number: int) -> Path:
        """What a replicate found of its weights beside its scores, one JSON object."""
        return self.path / "inspected" / f"{number}.json"

    def checkpoint(self, number: int) -> Path:
        """Return the file of a running trial's last checkpoint."""
        return self.trial(number) / "last.pt"

    @contextmanager
    def lock(self, patience: float = 0) -> Iterator[None]:
        """Lock the sweep for this process; the kernel releases the lock when the process dies.

        ``patience`` is for how many seconds to wait for another process.

        Raises:
            SweepBusyError: another process holds it.
        """
        lock = FileLock(self.path / "lock", timeout=patience)
        try:
            lock.acquire()
        except Timeout:
            raise SweepBusyError(
                f"{self.sweep_id} is being run by another process; wait for it or stop it first"
            ) from None
        try:
            yield
        finally:
            lock.release()


@dataclass(frozen=True)
class Home:
    """The data directory, which contains all sweeps."""

    path: Path

    @property
    def mlflow_uri(self) -> str:
        """The URI of the home's MLflow database."""
        return build_sqlite_url(self.path / "mlflow.db")

    @property
    def data(self) -> Path:
        """The folder that relative paths in specs start from, for a service."""
        return self.path / "data"

    @property
    def bundles(self) -> Path:
        """The folder of users' uploaded code, by the digests of the archives."""
        return self.path / "bundles"

    @property
    def artifacts(self) -> Path:
        """The folder of MLflow's artifacts."""
        return self.path / "artifacts"

    def create(self) -> Home:
        """Create the folder and check that it can be written.

        Raises:
            HomeError: the folder cannot be written.
            DiskFullError: its disk is full.
        """
        try:
            (self.path / "sweeps").mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            if is_disk_full(error):
                raise DiskFullError(f"the disk of the home folder {self.path} is full") from error
            raise HomeError(
                f"home folder {self.path} cannot be written ({error.strerror}); "
                "name another with --home or GAPSWEEP_HOME"
            ) from None
        return self

    def new_sweep(self, name: str) -> SweepFolder:
        """Create the folder of a new sweep with a new id."""
        folder = SweepFolder(self.path / "sweeps" / f"{name}-{secrets.token_hex(3)}")
        folder.path.mkdir()
        return folder

    def sweep(self, sweep_id: str) -> SweepFolder:
        """Return the folder of a sweep id, which may not exist."""
        return SweepFolder(self.path / "sweeps" / sweep_id)

    def sweeps(self) -> tuple[SweepFolder, ...]:
        """List the folders of sweeps with a spec, the oldest first."""
        return tuple(folder for folder in self.list_all() if folder.has(folder.spec))

    def list_all(self) -> tuple[SweepFolder, ...]:
        """List everything that lies where sweeps do, damaged or not, the oldest first.

        Raises:
            HomeError: the folder of the sweeps cannot be read.
        """
        root = self.path / "sweeps"
        try:
            found = [path for path in root.iterdir() if not path.name.startswith(".")]
        except (FileNotFoundError, NotADirectoryError):
            return ()
        except OSError as error:
            raise HomeError(f"{root} cannot be read ({error.strerror})") from None
        return tuple(SweepFolder(path) for path in sorted(found, key=_get_age))

    def find(self, reference: str) -> SweepFolder:
        """Find the sweep of an id, an unambiguous beginning of one, or ``latest``.

        Raises:
            SweepNotFoundError: no sweep, or several, match.
            ConflictError: a newer gapsweep has written it.
            DamagedFileError: its format cannot be read.
        """
        known = self.sweeps() if reference == LATEST else self.list_all()
        ids = [folder.sweep_id for folder in known]
        found = self.sweep(resolve_sweep(reference, ids, f"in {self.path}"))
        found.check_format()
        return found


def _get_age(path: Path) -> tuple[int, str]:
    """When a sweep's spec was written, else when its folder was changed, to sort by."""
    for file in (path / "spec.yaml", path):
        try:
            return file.lstat().st_mtime_ns, path.name
        except OSError:
            continue
    return 0, path.name
