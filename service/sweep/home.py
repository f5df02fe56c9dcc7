"""The files of sweeps: the home folder, a folder per sweep, its format, its lock."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from service.base.errors import HomeError, InputError, SweepBusyError
from service.base.sweep_ids import resolve_sweep
from service.base.uris import build_sqlite_url

FORMAT = 2
"""What the files of a sweep's folder mean; one more whenever an older gapsweep would misread one.

Folders of all smaller formats can be read. A folder without a number has format 1.
"""


@dataclass(frozen=True)
class SweepFolder:
    """The files of one sweep."""

    path: Path

    @property
    def sweep_id(self) -> str:
        """The sweep's id, which is the folder's name."""
        return self.path.name

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
            InputError: a newer gapsweep has written it.
        """
        found = self.read_format()
        if found > FORMAT:
            raise InputError(
                f"{self.sweep_id} was written by a newer gapsweep: its folder has format {found}, "
                f"this gapsweep reads formats up to {FORMAT}; upgrade gapsweep and try again"
            )

    def read_format(self) -> int:
        """The number of the folder's format."""
        if not self.format_file.exists():
            return 1
        text = self.format_file.read_text(encoding="utf-8").strip()
        if not text.isdigit():
            raise InputError(f"{self.format_file} must hold a number, not {text!r}")
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
        """Read the folders in :attr:`origin`; none if the file is missing."""
        if not self.origin.exists():
            return ()
        return tuple(self.origin.read_text(encoding="utf-8").splitlines())

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
    def ray_log(self) -> Path:
        """The file of Ray's messages."""
        return self.path / "ray.log"

    @property
    def driver_log(self) -> Path:
        """The log file of the drivers that a service started for the sweep."""
        return self.path / "driver.log"

    def trial(self, number: int) -> Path:
        """Return the folder of one trial, which may not exist."""
        return self.path / "trials" / f"{number:05d}"

    def drop_trial(self, number: int) -> None:
        """Delete the files of a trial, if there are any."""
        shutil.rmtree(self.trial(number), ignore_errors=True)

    def best_weights(self, number: int) -> Path:
        """Return the file of a finished trial's kept weights, a plain state dict."""
        return self.trial(number) / "best.pt"

    def control_weights(self, number: int) -> Path:
        """The weights of a training at the epoch that early stopping would have kept."""
        return self.trial(number) / "control.pt"

    def test_rows(self, number: int) -> Path:
        """The metrics of a replicate on every test sample."""
        return self.path / "test_rows" / f"{number}.npz"

    def checkpoint(self, number: int) -> Path:
        """Return the file of a running trial's last checkpoint."""
        return self.trial(number) / "last.pt"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the sweep for this process; the kernel releases the lock when the process dies.

        Raises:
            SweepBusyError: another process holds it.
        """
        lock = FileLock(self.path / "lock", timeout=0)
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
        """
        try:
            (self.path / "sweeps").mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except OSError as error:
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
        """List the folders of all sweeps, the oldest first."""
        root = self.path / "sweeps"
        if not root.is_dir():
            return ()
        folders = [SweepFolder(p) for p in root.iterdir() if (p / "spec.yaml").is_file()]
        return tuple(sorted(folders, key=lambda f: f.spec.stat().st_mtime_ns))

    def find(self, reference: str) -> SweepFolder:
        """Find the sweep of an id, an unambiguous beginning of one, or ``latest``.

        Raises:
            SweepNotFoundError: no sweep, or several, match.
            InputError: a newer gapsweep has written it.
        """
        ids = [folder.sweep_id for folder in self.sweeps()]
        found = self.sweep(resolve_sweep(reference, ids, f"in {self.path}"))
        found.check_format()
        return found
