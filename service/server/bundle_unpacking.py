"""Unpacks the archives of users' code, which are untrusted.

Unpacking follows no links, writes nothing outside of the target folder, and counts bytes as they
are written, so that the limits hold whatever the archive's headers claim.
"""

from __future__ import annotations

import errno
import io
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from service.base.errors import BundleError, DamagedFileError
from service.base.files import replace_file
from service.base.untrusted_files import read_untrusted
from service.client.bundle_names import check_entries, fold, list_installed
from service.client.bundle_packing import digest

_CHUNK = 1 << 16
_WRONG_NAME = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ)
_UNREADABLE = (  # what zipfile raises for a damaged, encrypted or unusual archive
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)


@dataclass(frozen=True)
class BundleLimits:
    """The largest size of an archive, packed and unpacked, in bytes, and its most files."""

    packed: int = 50 * 2**20
    unpacked: int = 200 * 2**20
    files: int = 5_000


def unpack(
    archive: bytes,
    into: Path,
    limits: BundleLimits = BundleLimits(),  # frozen
) -> tuple[str, ...]:
    """Write an archive's files to ``into/DIGEST``, all or none; the names of its modules.

    A module that is a single file becomes a package of that name.

    Raises:
        BundleError: not a readable archive, too large, a path outside of its folder, a link,
            compiled Python, or the name of a module that is installed here.
        OSError: the folder cannot be written, for example because the disk is full.
    """
    if len(archive) > limits.packed:
        raise BundleError(
            f"the archive has {_format_size(len(archive))}; "
            f"the limit is {_format_size(limits.packed)}"
        )
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            entries = _check_entries(opened.infolist(), limits)
            modules = check_entries((path for path, _ in entries), list_installed())
            target = into / digest(archive)
            kept = into / f"{digest(archive)}.zip"
            if not target.exists() or not kept.exists():
                shutil.rmtree(target, ignore_errors=True)
                _write(opened, entries, target, limits)
                with replace_file(kept) as temporary:
                    temporary.write_bytes(archive)
    except _UNREADABLE as error:
        raise BundleError(f"not a readable zip archive ({error})") from None
    return modules


def restore(into: Path, name: str, limits: BundleLimits = BundleLimits()) -> Path:
    """The folder of an archive that was unpacked into ``into``, with its files and no others.

    Code of users may write there: what is not as in the archive is unpacked again.

    Raises:
        BundleError: the archive is gone, or is not the one of this digest.
    """
    try:
        archive = read_untrusted(into, PurePosixPath(f"{name}.zip"), limits.packed)
    except (OSError, DamagedFileError):
        archive = b""
    if digest(archive) != name:
        raise BundleError(f"the archive of bundle {name[:12]} was lost or changed; upload it again")
    target = into / name
    if not _is_whole(archive, target):
        shutil.rmtree(target, ignore_errors=True)
        unpack(archive, into, limits)
    return target


def _is_whole(archive: bytes, target: Path) -> bool:
    """Whether a folder has exactly the files of an archive, single ones as packages."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        wanted = {}
        for info in opened.infolist():
            path = PurePosixPath(info.filename)
            if not info.is_dir():
                single = len(path.parts) == 1 and path.suffix == ".py"
                wanted[f"{path.stem}/__init__.py" if single else str(path)] = info
        there = {p.relative_to(target).as_posix(): p for p in target.rglob("*")}
        files = {name: p for name, p in there.items() if p.is_symlink() or not p.is_dir()}
        return files.keys() == wanted.keys() and all(
            p.is_file() and not p.is_symlink() and p.read_bytes() == opened.read(wanted[name])
            for name, p in files.items()
        )


def _check_entries(
    infos: Sequence[zipfile.ZipInfo], limits: BundleLimits
) -> list[tuple[PurePosixPath, zipfile.ZipInfo]]:
    """The archive's files, and the safe relative paths to write them to."""
    if len(infos) > limits.files:
        raise BundleError(f"the archive has {len(infos)} files; the limit is {limits.files}")
    entries: dict[str, tuple[PurePosixPath, zipfile.ZipInfo]] = {}
    for info in infos:
        path, kind = _check_path(info.filename), stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise BundleError(f"{info.filename!r} is a link or a special file")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise BundleError(f"{info.filename!r} uses a compression other than deflate")
        if info.is_dir():
            continue
        if fold(str(path)) in entries:
            raise BundleError(f"duplicate file {info.filename!r}")
        entries[fold(str(path))] = path, info
    return list(entries.values())


def _check_path(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    strange = path.is_absolute() or ".." in path.parts or not path.parts
    if strange or any(c in name for c in "\\:\0") or not name.isprintable():
        raise BundleError(f"{name!r} is outside of the archive's folder, or not a valid file name")
    return path


def _write(
    opened: zipfile.ZipFile,
    entries: Sequence[tuple[PurePosixPath, zipfile.ZipInfo]],
    target: Path,
    limits: BundleLimits,
) -> None:
    """Write all files into a temporary folder, which is renamed at the end."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".unpacking-") as folder:
        whole = Path(folder) / "whole"
        whole.mkdir()
        left = limits.unpacked
        for path, info in entries:
            file = whole / path
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                left = _write_file(opened, info, file, left, limits)
            except (NotADirectoryError, FileExistsError, IsADirectoryError):
                raise BundleError(f"{info.filename!r} is both a file and a folder") from None
            except OSError as error:
                if error.errno not in _WRONG_NAME:  # a fault of this machine
                    raise
                raise BundleError(
                    f"{info.filename!r} cannot be written: {error.strerror}"
                ) from None
        _make_packages(whole)
        if not target.exists():
            shutil.move(whole, target)


def _make_packages(folder: Path) -> None:
    """Turn single files into packages of that name: Ray takes folders only."""
    for file in sorted(folder.glob("*.py")):
        package = folder / file.stem
        try:
            package.mkdir()
        except FileExistsError:
            raise BundleError(
                f"{file.name!r} and the folder {file.stem!r} define the same module"
            ) from None
        file.rename(package / "__init__.py")


def _write_file(
    opened: zipfile.ZipFile, info: zipfile.ZipInfo, file: Path, left: int, limits: BundleLimits
) -> int:
    """Write one file; how many of the ``left`` bytes may still be written after it."""
    with opened.open(info) as source, file.open("wb") as sink:
        while chunk := source.read(_CHUNK):
            left -= len(chunk)
            if left < 0:
                raise BundleError(
                    f"more than {_format_size(limits.unpacked)} unpacked, which is the limit"
                )
            sink.write(chunk)
    return left


def _format_size(count: int) -> str:
    return f"{count / 2**20:.0f} MiB" if count >= 2**20 else f"{count} bytes"
