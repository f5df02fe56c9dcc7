"""A home folder in one file, taken while sweeps run, and back from it.

The databases come first, each by SQLite's own backup, which is a state between two transactions.
Folders are copied after them, so that they have what the databases tell of. Within a sweep's
folder the journal says what has happened: what belongs to later trials is left out, as if the
sweep had been killed when its journal was copied. A sweep that was running then continues from
there, with the next attempt.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import shutil
import sqlite3
import stat
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from service.base.errors import ConflictError, HomeError, InputError
from service.base.uris import build_readonly_sqlite_uri
from service.base.versions import get_installed_version
from service.study.journals import count_trials
from service.sweep.home import Home, SweepFolder

FORMAT = 1
_LABEL = "gapsweep-backup.json"
_DATABASES = ("service.db", "mlflow.db")
_LEFT_OUT = re.compile(r"\..*|.*\.log|lock|driver\.json|(service|mlflow)\.db.*|service\.json")
"""Hidden files, logs of processes, locks, tokens of drivers, and databases as they lie there."""
_DRIVER_LOG = "driver.log"
_OF_TRIALS = ("trials", "test_rows", "inspected")
"""The folders of a sweep whose entries are named by trials' numbers."""
_IN_MEMORY = 64 * 2**20
_SCRATCH = ".restoring-"


def write_backup(home: Home, out: BinaryIO) -> None:
    """Write a backup of a home, compressed, to a file or a pipe.

    Raises:
        HomeError: there is no such home.
    """
    if not home.path.is_dir():
        raise HomeError(f"there is no home folder {home.path}")
    with (
        gzip.GzipFile(fileobj=out, mode="wb", compresslevel=3) as packed,
        tarfile.open(fileobj=packed, mode="w|") as tar,
    ):
        label = {"format": FORMAT, "version": get_installed_version()}
        _add_bytes(tar, _LABEL, json.dumps(label).encode())
        with tempfile.TemporaryDirectory(prefix="gapsweep-backup-") as scratch:
            for name in _DATABASES:
                if (home.path / name).exists():
                    copy = Path(scratch) / name
                    _copy_database(home.path / name, copy)
                    _add_file(tar, copy, name)
        for folder in home.list_all():
            if folder.has_plain_folder():
                _add_sweep(tar, folder)
        others = [path for path in sorted(home.path.iterdir()) if path.name != "sweeps"]
        _add_tree(tar, (path for path in others if not _is_left_out(path.name)), home.path)


def _copy_database(path: Path, copy: Path) -> None:
    """Copy a SQLite database between two transactions; writers do not wait."""
    uri = build_readonly_sqlite_uri(path)
    with closing(sqlite3.connect(uri, uri=True)) as source, closing(sqlite3.connect(copy)) as sink:
        source.backup(sink)


def _add_sweep(tar: tarfile.TarFile, folder: SweepFolder) -> None:
    """Add a sweep: what was made of its journal before the journal, and its trials' files after."""
    root, top = folder.path.parent.parent, folder.path
    later = {folder.journal.name, folder.history.name, *_OF_TRIALS}
    entries = sorted(path for path in top.iterdir() if not _is_left_out(path.name))
    _add_tree(tar, [path for path in entries if path.name not in later], root)
    try:
        journal = _up_to_last_line(folder.read(folder.journal))
    except FileNotFoundError:
        return
    _add_bytes(tar, folder.journal.relative_to(root).as_posix(), journal)
    trials = count_trials(journal)
    with suppress(FileNotFoundError):
        kept = b"".join(_known_epochs(folder.read(folder.history), trials))
        _add_bytes(tar, folder.history.relative_to(root).as_posix(), kept)
    numbered = [path for name in _OF_TRIALS for path in sorted((top / name).glob("*"))]
    _add_tree(tar, [path for path in numbered if _get_number(path) < trials], root)


def _up_to_last_line(text: bytes) -> bytes:
    return text[: text.rfind(b"\n") + 1]


def _known_epochs(history: bytes, trials: int) -> Iterator[bytes]:
    """The lines of a history that are of trials below a number."""
    for line in _up_to_last_line(history).splitlines(keepends=True):
        try:
            if json.loads(line)["trial"] >= trials:
                continue
        except (ValueError, KeyError, TypeError):  # damaged before: kept as it is
            pass
        yield line


def _get_number(path: Path) -> int:
    found = re.match(r"\d+", path.name)
    return int(found[0]) if found else 0


def _is_left_out(name: str) -> bool:
    return name != _DRIVER_LOG and _LEFT_OUT.fullmatch(name) is not None


def _add_tree(tar: tarfile.TarFile, paths: Iterable[Path], root: Path) -> None:
    """Add files and folders, without links and special files; what vanishes is not there."""
    for path in paths:
        try:
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode):
                _add_folder(tar, path.relative_to(root).as_posix())
                _add_tree(tar, sorted(path.iterdir()), root)
            elif stat.S_ISREG(mode):
                _add_file(tar, path, path.relative_to(root).as_posix())
        except FileNotFoundError:
            continue


def _add_folder(tar: tarfile.TarFile, name: str) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, 0o755
    tar.addfile(info)


def _add_file(tar: tarfile.TarFile, path: Path, name: str) -> None:
    """Add a file as it is when it is opened; one that grows is cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        if found.st_size <= _IN_MEMORY:
            _add_bytes(tar, name, file.read(found.st_size), found)
        else:
            tar.addfile(_describe(name, found.st_size, found), file)


def _add_bytes(
    tar: tarfile.TarFile, name: str, content: bytes, found: os.stat_result | None = None
) -> None:
    tar.addfile(_describe(name, len(content), found), io.BytesIO(content))


def _describe(name: str, size: int, found: os.stat_result | None) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644 if found is None else stat.S_IMODE(found.st_mode) & 0o755
    info.mtime = 0.0 if found is None else found.st_mtime
    return info


def read_backup(home: Home, source: BinaryIO) -> None:
    """Bring back a home into a folder that has neither sweeps nor databases.

    A restore that was interrupted is repeated from its beginning.

    Raises:
        ConflictError: there is a home already.
        InputError: the file is not a backup, is not whole, or is a newer gapsweep's.
        HomeError: the folder cannot be written.
    """
    home.create()
    for old in home.path.glob(f"{_SCRATCH}*"):
        shutil.rmtree(old)
    there = [p.name for p in home.path.iterdir() if not _is_left_out(p.name) and _has_content(p)]
    there += [name for name in _DATABASES if (home.path / name).exists()]
    if there:
        raise ConflictError(
            f"{home.path} has {', '.join(sorted(there)[:3])} already; restore into an empty folder"
        )
    with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=home.path) as scratch:
        _extract(source, Path(scratch))
        (home.path / "sweeps").rmdir()
        for path in sorted(Path(scratch).iterdir(), key=lambda p: p.name in _DATABASES):
            if path.name != _LABEL:
                _remove_empty(home.path / path.name)
                path.rename(home.path / path.name)
    home.create()


def _has_content(path: Path) -> bool:
    return not path.is_dir() or any(path.iterdir())


def _remove_empty(path: Path) -> None:
    if path.is_dir():
        path.rmdir()


def _extract(source: BinaryIO, into: Path) -> None:
    try:
        with tarfile.open(fileobj=source, mode="r|gz") as tar:
            first = True
            for member in tar:
                if first and member.name != _LABEL:
                    raise InputError("the file is not a backup that `gapsweep backup` wrote")
                _extract_member(tar, member, into)
                if first:
                    _check_label((into / _LABEL).read_bytes())
                first = False
    except (tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise InputError(f"the file is not a backup, or is not whole ({error})") from None
    if first:
        raise InputError("the file is not a backup, or is not whole (it is empty)")


def _extract_member(tar: tarfile.TarFile, member: tarfile.TarInfo, into: Path) -> None:
    """Write a file or a folder; ``tarfile``'s own filters need Python 3.11.4.

    Raises:
        InputError: it is a link or a special file, or lies outside of the folder.
    """
    path = PurePosixPath(member.name)
    content = tar.extractfile(member) if member.isreg() else None
    strange = path.is_absolute() or ".." in path.parts or not path.parts
    if strange or (content is None and not member.isdir()):
        raise InputError(
            f"the file is not a backup: it has {member.name!r}, which is not extracted"
        )
    if content is None:
        (into / path).mkdir(parents=True, exist_ok=True)
        return
    (into / path).parent.mkdir(parents=True, exist_ok=True)
    if (into / path).exists():
        raise InputError(f"the file is not a backup: it has {member.name!r} twice")
    with content, (into / path).open("xb") as file:
        shutil.copyfileobj(content, file)
    (into / path).chmod(member.mode & 0o755)
    os.utime(into / path, (member.mtime, member.mtime))


def _check_label(text: bytes) -> None:
    try:
        found = json.loads(text)
        number, version = int(found["format"]), str(found["version"])
    except (ValueError, KeyError, TypeError):
        raise InputError("the file is not a backup that `gapsweep backup` wrote") from None
    if number > FORMAT:
        raise InputError(
            f"the backup has format {number} of gapsweep {version}; this version reads formats up "
            f"to {FORMAT}: use the newer version"
        )
