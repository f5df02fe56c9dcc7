"""Opens files that others wrote, below a folder that is trusted.

Users' code writes into its sweep's folder, so what lies there is input of a stranger: a link to a
file that only this process may read, a FIFO that never answers, a device, a file of terabytes.
Here a path is followed component by component without links, only regular files are opened, none
with a second name (a hard link may name a file of another folder), and never waiting.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import BinaryIO

from service.base.errors import DamagedFileError

_NEVER_WAIT = os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PRIVATE = 0o600
_GROWTH = 2**20
"""Bytes that a file may grow by while it is read."""
_WRONG_KIND = (errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENXIO)


def open_untrusted(root: Path, relative: PurePath, limit: int) -> BinaryIO:
    """Open a file below ``root`` for reading; its size is at most ``limit`` bytes.

    ``root`` itself may be reached through links; no component of ``relative`` may be one.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFileError: it is no regular file, is reached through a link, has several names, is
            larger than ``limit``, or cannot be read.
    """
    file = os.fdopen(_open(root, relative, os.O_RDONLY), "rb")
    size = os.fstat(file.fileno()).st_size
    if size > limit:
        file.close()
        raise _damaged(relative, f"has {_format_size(size)}, more than {_format_size(limit)}")
    return file


def append_untrusted(root: Path, relative: PurePath) -> BinaryIO:
    """Open a file below ``root`` to append to; a new one can be read by its owner only.

    Raises:
        FileNotFoundError: its folder does not exist.
        DamagedFileError: as :func:`open_untrusted`.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    return os.fdopen(_open(root, relative, flags), "ab")


def read_untrusted(root: Path, relative: PurePath, limit: int) -> bytes:
    """The content of a file below ``root``.

    Raises:
        FileNotFoundError, DamagedFileError: as :func:`open_untrusted`.
    """
    with open_untrusted(root, relative, limit) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(min(limit, size + _GROWTH) + 1)  # memory for it is taken at once
    if len(content) > limit:  # it grew meanwhile
        raise _damaged(relative, f"has more than {_format_size(limit)}")
    return content


def is_untrusted_file(root: Path, relative: PurePath) -> bool:
    """Whether there is a regular file below ``root`` that :func:`open_untrusted` would open."""
    try:
        os.close(_open(root, relative, os.O_RDONLY))
    except (FileNotFoundError, DamagedFileError):
        return False
    return True


def _open(root: Path, relative: PurePath, flags: int) -> int:
    with _walk(root, relative) as folder:
        name = relative.name
        try:
            found = os.open(name, flags | _NEVER_WAIT, _PRIVATE, dir_fd=folder)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise _damaged(relative, _explain(error, name, folder)) from None
    try:
        _check_kind(os.fstat(found), relative)
    except DamagedFileError:
        os.close(found)
        raise
    return found


def _check_kind(found: os.stat_result, relative: PurePath) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise _damaged(relative, f"is {_describe_kind(found.st_mode)}, not a regular file")
    if found.st_nlink > 1:
        raise _damaged(relative, f"has {found.st_nlink} names (hard links); copy it instead")


@contextmanager
def _walk(root: Path, relative: PurePath) -> Iterator[int]:
    """The descriptor of the file's folder, reached without links below ``root``."""
    if relative.is_absolute() or ".." in relative.parts or not relative.parts:
        raise ValueError(f"{relative} is not a path below a folder")
    folder = _open_root(root)
    try:
        for depth, name in enumerate(relative.parts[:-1], start=1):
            try:
                below = os.open(name, _FOLDER, dir_fd=folder)
            except FileNotFoundError:
                raise
            except OSError as error:
                place = PurePath(*relative.parts[:depth])
                raise _damaged(place, _explain(error, name, folder)) from None
            os.close(folder)
            folder = below
        yield folder
    finally:
        os.close(folder)


def _open_root(root: Path) -> int:
    try:
        return os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DamagedFileError(f"{root} cannot be opened ({error.strerror})") from None


def _explain(error: OSError, name: str, folder: int) -> str:
    if error.errno in _WRONG_KIND:
        with suppress(OSError):
            kind = _describe_kind(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
            return f"is {kind}, which is not opened"
    return f"cannot be opened ({error.strerror})"


def _describe_kind(mode: int) -> str:
    kinds = (
        (stat.S_ISLNK, "a link"),
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISREG, "a file and no folder"),
    )
    return next((words for test, words in kinds if test(mode)), "a device")


def _damaged(relative: PurePath, what: str) -> DamagedFileError:
    return DamagedFileError(f"{relative} {what}")


def _format_size(size: int) -> str:
    return f"{size / 2**20:.0f} MiB" if size >= 2**20 else f"{size} bytes"
