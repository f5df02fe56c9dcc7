"""A user's own code as an archive: how a client packs it for the server.

An archive is named by the SHA-256 of its bytes; equal files give equal bytes.
"""

from __future__ import annotations

import hashlib
import io
import stat
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from service.base.errors import BundleError
from service.client.bundle_names import check_entries, list_required

_EXCLUDED = ("__pycache__", ".git", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip archive can store


def digest(archive: bytes) -> str:
    """The name of an archive: its SHA-256 in hexadecimal."""
    return hashlib.sha256(archive).hexdigest()


def pack(paths: Sequence[Path]) -> bytes:
    """Pack modules and packages into an archive.

    Compiled files that Python keeps beside the source are left out.

    Raises:
        BundleError: a path does not exist, is not a Python module or package, or has the name of
            a module that gapsweep needs.
    """
    found = [entry for path in paths for entry in _find_files(path)]
    check_entries((PurePosixPath(name) for name, _ in found), list_required())
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, file in found:
            info = zipfile.ZipInfo(name, _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(info, file.read_bytes())
    return buffer.getvalue()


def _find_files(path: Path) -> Iterator[tuple[str, Path]]:
    """The archive's names and the files behind them, sorted."""
    path = path.resolve()
    if path.is_file() and path.suffix == ".py":
        yield path.name, path
        return
    if not path.is_dir():
        problem = "does not exist" if not path.exists() else "is neither a folder nor a .py file"
        raise BundleError(f"{path} {problem}")
    found = sorted(f for f in path.rglob("*") if f.is_file() and not f.is_symlink())
    kept = [f for f in found if not set(f.relative_to(path).parts) & set(_EXCLUDED)]
    kept = [f for f in kept if f.suffix not in (".pyc", ".pyo")]
    if not any(f.suffix == ".py" for f in kept):
        raise BundleError(f"{path} contains no Python module")
    for file in kept:
        yield f"{path.name}/{file.relative_to(path).as_posix()}", file
