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
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from service.base.errors import BundleError
from service.client.bundle_packing import digest
from trainables.config.code_files import OWN_PACKAGES

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
        BundleError: not a readable archive, too large, a path outside of its folder, a link, or
            the name of a module that exists already.
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
            modules = _find_modules(entries)
            target = into / digest(archive)
            if not target.exists():
                _write(opened, entries, target, limits)
    except _UNREADABLE as error:
        raise BundleError(f"not a readable zip archive ({error})") from None
    return modules


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
        if str(path).lower() in entries:
            raise BundleError(f"duplicate file {info.filename!r}")
        entries[str(path).lower()] = path, info
    return list(entries.values())


def _check_path(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    strange = path.is_absolute() or ".." in path.parts or not path.parts
    if strange or any(c in name for c in "\\:\0") or not name.isprintable():
        raise BundleError(f"{name!r} is outside of the archive's folder, or not a valid file name")
    return path


def _find_modules(entries: Sequence[tuple[PurePosixPath, zipfile.ZipInfo]]) -> tuple[str, ...]:
    """The archive's top-level modules."""
    tops = {path.parts[0] for path, _ in entries if path.suffix == ".py"}
    names = sorted({PurePosixPath(top).stem if top.endswith(".py") else top for top in tops})
    if not names:
        raise BundleError("the archive contains no Python module")
    for name in names:
        if name in OWN_PACKAGES:
            raise BundleError(
                f"module {name!r} would shadow gapsweep's module of that name; rename it"
            )
        if name in sys.stdlib_module_names:
            raise BundleError(
                f"module {name!r} would shadow Python's module of that name; rename it"
            )
    return tuple(names)


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
