"""Where a sweep lives on disk: the home folder, a folder a sweep, its format, its lock."""

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

FORMAT = 1
"""What the files of a sweep's folder mean; one more whenever an older gapsweep would misread one.

Folders of every smaller format can be read. A folder without a number is of the first.
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
        """Mark a new folder as of today's format."""
        self.format_file.write_text(f"{FORMAT}\n", encoding="utf-8")

    def check_format(self) -> None:
        """See that the folder can be read.

        Raises:
            InputError: a newer gapsweep has written it.
        """
        found = self._read_format()
        if found > FORMAT:
            raise InputError(
                f"{self.sweep_id} was written by a newer gapsweep: its folder has format {found}, "
                f"this gapsweep reads formats up to {FORMAT}; upgrade gapsweep and try again"
            )

    def _read_format(self) -> int:
        if not self.format_file.exists():
            return 1
        text = self.format_file.read_text(encoding="utf-8").strip()
        if not text.isdigit():
            raise InputError(f"{self.format_file} must hold a number, not {text!r}")
        return int(text)

    @property
    def spec(self) -> Path:
        """The spec as run."""
        return self.path / "spec.yaml"

    @property
    def origin(self) -> Path:
        """Folders, a line each, that the user's own modules are imported from."""
        return self.path / "import_paths"

    def read_import_paths(self) -> tuple[str, ...]:
        """The folders of :attr:`origin`; none where the file is missing."""
        if not self.origin.exists():
            return ()
        return tuple(self.origin.read_text(encoding="utf-8").splitlines())

    @property
    def journal(self) -> Path:
        """The study."""
        return self.path / "study.journal"

    @property
    def history(self) -> Path:
        """Every epoch of every trial, a JSON line each."""
        return self.path / "history.jsonl"

    @property
    def summary(self) -> Path:
        """The sweep in one JSON object."""
        return self.path / "summary.json"

    @property
    def report(self) -> Path:
        """The report as a page."""
        return self.path / "report.html"

    @property
    def ray_log(self) -> Path:
        """What Ray had to say."""
        return self.path / "ray.log"

    @property
    def driver_log(self) -> Path:
        """What the drivers had to say that the service started for it."""
        return self.path / "driver.log"

    def trial(self, number: int) -> Path:
        """The folder of one trial; it need not exist."""
        return self.path / "trials" / f"{number:05d}"

    def drop_trial(self, number: int) -> None:
        """Delete what a trial left, if it left anything."""
        shutil.rmtree(self.trial(number), ignore_errors=True)

    def best_weights(self, number: int) -> Path:
        """A finished trial's kept weights, a plain state dict."""
        return self.trial(number) / "best.pt"

    def checkpoint(self, number: int) -> Path:
        """A running trial's last epoch."""
        return self.trial(number) / "last.pt"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the sweep for this process; the kernel lets go when the process dies.

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
    """The folder under which everything is kept."""

    path: Path

    @property
    def mlflow_uri(self) -> str:
        """MLflow's own SQLite database."""
        return f"sqlite:///{self.path / 'mlflow.db'}"

    @property
    def data(self) -> Path:
        """Where relative paths in the specs of a service lead to."""
        return self.path / "data"

    @property
    def bundles(self) -> Path:
        """Users' code that was handed in, each under its archive's digest."""
        return self.path / "bundles"

    @property
    def artifacts(self) -> Path:
        """MLflow's artifacts."""
        return self.path / "artifacts"

    def create(self) -> Home:
        """Make the folder and see that it can be written.

        Raises:
            HomeError: it cannot.
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
        """Make the folder of a new sweep under a fresh id."""
        folder = SweepFolder(self.path / "sweeps" / f"{name}-{secrets.token_hex(3)}")
        folder.path.mkdir()
        return folder

    def sweep(self, sweep_id: str) -> SweepFolder:
        """The folder of a sweep whose id is given; it need not be there."""
        return SweepFolder(self.path / "sweeps" / sweep_id)

    def sweeps(self) -> tuple[SweepFolder, ...]:
        """Every sweep, oldest first."""
        root = self.path / "sweeps"
        if not root.is_dir():
            return ()
        folders = [SweepFolder(p) for p in root.iterdir() if (p / "spec.yaml").is_file()]
        return tuple(sorted(folders, key=lambda f: f.spec.stat().st_mtime_ns))

    def find(self, reference: str) -> SweepFolder:
        """The sweep of an id, of an unambiguous beginning of one, or ``latest``.

        Raises:
            SweepNotFoundError: none, or more than one.
            InputError: a newer gapsweep has written it.
        """
        ids = [folder.sweep_id for folder in self.sweeps()]
        found = self.sweep(resolve_sweep(reference, ids, f"in {self.path}"))
        found.check_format()
        return found
