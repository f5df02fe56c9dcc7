"""A user's own code as an archive: packed where it is written, taken apart where it will run.

An archive is named by the SHA-256 of its bytes. It is unpacked without following links, without
leaving its folder, and never beyond the limits, whatever its headers say.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import stat
import struct
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from service.base.errors import BundleError

OURS = ("service", "trainables", "search_spaces")
_LEFT_OUT = ("__pycache__", ".git", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment that a zip can name
_CHUNK = 1 << 16
_UNREADABLE = (  # what Python's reader raises over a damaged, encrypted or unusual archive
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
class Limits:
    """How large an archive may be, packed and unpacked, in bytes; how many files it may have."""

    packed: int = 50 * 2**20
    unpacked: int = 200 * 2**20
    files: int = 5_000


def digest(archive: bytes) -> str:
    """What an archive is called."""
    return hashlib.sha256(archive).hexdigest()


def pack(paths: Sequence[Path]) -> bytes:
    """Modules and packages as an archive; equal files give equal bytes.

    Raises:
        BundleError: a path is not there, or is no Python module or package.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in paths:
            for name, file in _files(path):
                info = zipfile.ZipInfo(name, _EPOCH)
                info.compress_type = zipfile.ZIP_DEFLATED
                info.external_attr = (stat.S_IFREG | 0o644) << 16
                archive.writestr(info, file.read_bytes())
    return buffer.getvalue()


def unpack(archive: bytes, into: Path, limits: Limits = Limits()) -> tuple[str, ...]:  # frozen
    """Write an archive's files under ``into/DIGEST``, all of them or none; its modules' names.

    Each module is a package there, one that came as a single file too.

    Raises:
        BundleError: it is no archive, is too large, would leave its folder, holds a link, or
            would stand in the way of modules that are there already.
    """
    if len(archive) > limits.packed:
        raise BundleError(f"it has {_size(len(archive))}; at most {_size(limits.packed)} are taken")
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            entries = _checked(opened.infolist(), limits)
            modules = _modules(entries)
            target = into / digest(archive)
            if not target.exists():
                _write(opened, entries, target, limits)
    except _UNREADABLE as error:
        raise BundleError(f"it is no zip archive that can be read ({error})") from None
    return modules


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    """Names inside the archive and the files they come from, sorted."""
    path = path.resolve()
    if path.is_file() and path.suffix == ".py":
        yield path.name, path
        return
    if not path.is_dir():
        what = "is not there" if not path.exists() else "is no folder and no .py file"
        raise BundleError(f"{path} {what}")
    found = sorted(f for f in path.rglob("*") if f.is_file() and not f.is_symlink())
    kept = [f for f in found if not set(f.relative_to(path).parts) & set(_LEFT_OUT)]
    if not any(f.suffix == ".py" for f in kept):
        raise BundleError(f"{path} holds no Python module")
    for file in kept:
        yield f"{path.name}/{file.relative_to(path).as_posix()}", file


def _checked(
    infos: Sequence[zipfile.ZipInfo], limits: Limits
) -> list[tuple[PurePosixPath, zipfile.ZipInfo]]:
    """The archive's files with the paths they may be written to."""
    if len(infos) > limits.files:
        raise BundleError(f"it has {len(infos)} files; at most {limits.files} are taken")
    entries: dict[str, tuple[PurePosixPath, zipfile.ZipInfo]] = {}
    for info in infos:
        path, kind = _path(info.filename), stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise BundleError(f"{info.filename!r} is a link or no plain file")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise BundleError(f"{info.filename!r} is packed in a way other than zip's usual one")
        if info.is_dir():
            continue
        if str(path).lower() in entries:
            raise BundleError(f"{info.filename!r} is in it twice")
        entries[str(path).lower()] = path, info
    return list(entries.values())


def _path(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    strange = path.is_absolute() or ".." in path.parts or not path.parts
    if strange or any(c in name for c in "\\:\0") or not name.isprintable():
        raise BundleError(f"{name!r} would leave the folder, or is no name for a file")
    return path


def _modules(entries: Sequence[tuple[PurePosixPath, zipfile.ZipInfo]]) -> tuple[str, ...]:
    """What can be imported from it, at the top."""
    tops = {path.parts[0] for path, _ in entries if path.suffix == ".py"}
    names = sorted({PurePosixPath(top).stem if top.endswith(".py") else top for top in tops})
    if not names:
        raise BundleError("it holds no Python module")
    for name in names:
        if name in OURS:
            raise BundleError(
                f"a module {name!r} would stand in the way of gapsweep's own; give it another name"
            )
        if name in sys.stdlib_module_names:
            raise BundleError(
                f"a module {name!r} would stand in the way of Python's own; give it another name"
            )
    return tuple(names)


def _write(
    opened: zipfile.ZipFile,
    entries: Sequence[tuple[PurePosixPath, zipfile.ZipInfo]],
    target: Path,
    limits: Limits,
) -> None:
    """All files into a folder of their own, which gets its name last."""
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
                raise BundleError(f"{info.filename!r} is a file and a folder") from None
            except OSError as error:
                raise BundleError(
                    f"{info.filename!r} cannot be written: {error.strerror}"
                ) from None
        _into_packages(whole)
        if not target.exists():
            shutil.move(whole, target)


def _into_packages(folder: Path) -> None:
    """A single file becomes a package of that name: clusters take folders only."""
    for file in sorted(folder.glob("*.py")):
        package = folder / file.stem
        try:
            package.mkdir()
        except FileExistsError:
            raise BundleError(f"{file.name!r} and the folder {file.stem!r} have one name") from None
        file.rename(package / "__init__.py")


def _write_file(
    opened: zipfile.ZipFile, info: zipfile.ZipInfo, file: Path, left: int, limits: Limits
) -> int:
    """The bytes that may still be written after it; they are counted as they come."""
    with opened.open(info) as source, file.open("wb") as sink:
        while chunk := source.read(_CHUNK):
            left -= len(chunk)
            if left < 0:
                raise BundleError(
                    f"it has more than {_size(limits.unpacked)} when it is unpacked, which is the "
                    "most that is taken"
                )
            sink.write(chunk)
    return left


def _size(count: int) -> str:
    return f"{count / 2**20:.0f} MiB" if count >= 2**20 else f"{count} bytes"
